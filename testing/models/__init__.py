"""Makes the models that the tests serve: small graphs whose answers can be worked out by hand.

    python -m testing.models FOLDER

writes FOLDER/<name>/1/<files of the model> for every model there is: `ir.py` has the OpenVINO IR models, `formats.py` one model
in each of the other formats. Needs the packages of tests/requirements.txt.
"""

import hashlib
import pathlib
import shutil

from testing.models import formats, ir

MAKERS = {**ir.MAKERS, **formats.MAKERS}


def _fingerprint() -> str:
    """Changes when a generator or the OpenVINO that wrote the models does."""
    import openvino

    digest = hashlib.sha256(openvino.get_version().encode())
    for source in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def make_all(folder) -> pathlib.Path:
    """Makes every model under `folder`, unless the same generators filled it before. Returns the folder."""
    folder = pathlib.Path(folder)
    stamp = folder / ".fingerprint"
    fingerprint = _fingerprint()
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for name, make in MAKERS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        make(version)
    stamp.write_text(fingerprint)
    return folder
