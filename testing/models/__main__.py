import sys

from testing.models import make_all

if len(sys.argv) != 2:
    sys.exit("usage: python -m testing.models FOLDER")
print(make_all(sys.argv[1]))
