#!/usr/bin/env python3
"""Tells a file's type with the model Magika on a running server. Needs nothing but Python and the switchyard binary."""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BLOCK = 4096  # what is looked at from each end of the file
KEPT = 1024   # what the model gets of it
PADDING = 256  # one more than a byte can be


def features(path):
    """The model's 2048 numbers: the first 1024 bytes after white space, then the last 1024 before it, padded."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(BLOCK).lstrip()[:KEPT]
        file.seek(max(0, size - BLOCK))
        tail = file.read(BLOCK).rstrip()[-KEPT:]
    return list(head) + [PADDING] * (KEPT - len(head)) + [PADDING] * (KEPT - len(tail)) + list(tail)


def classify(path, binary, url, protocol, model):
    """The scores, one for each label, in the order of the labels."""
    with tempfile.NamedTemporaryFile(suffix=".i32") as tensor:
        tensor.write(struct.pack("<2048i", *features(path)))
        tensor.flush()
        command = [binary, "infer", "--url", url, "--protocol", protocol, "--model", model,
                   "--input", "bytes=@" + tensor.name, "--json"]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if answer.returncode != 0:
        sys.exit(answer.returncode)
    outputs = json.loads(answer.stdout)["outputs"]
    return next(output["data"] for output in outputs if output["name"] == "target_label")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--url", help="default: 127.0.0.1, port 9000 for gRPC and 8000 for REST")
    parser.add_argument("--protocol", default="kserve-grpc", choices=["kserve-grpc", "kserve-rest", "tfs-grpc", "tfs-rest"])
    parser.add_argument("--model", default="magika")
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "switchyard"))
    parser.add_argument("--labels", default=os.path.join(ROOT, ".deps", "models", "magika.labels.json"))
    parser.add_argument("--json", action="store_true", help="print an object with label and score")
    options = parser.parse_args()

    url = options.url or "127.0.0.1:" + ("9000" if options.protocol.endswith("grpc") else "8000")
    try:
        with open(options.labels, encoding="utf-8") as file:
            labels = json.load(file)
        scores = classify(options.file, options.binary, url, options.protocol, options.model)
    except OSError as error:
        sys.exit(f"file_type: {error}; run ./start once, it builds the binary and fetches the model and its labels")
    best = max(range(len(scores)), key=scores.__getitem__)
    if options.json:
        print(json.dumps({"label": labels[best], "score": scores[best]}))
    else:
        print(f"{labels[best]} {scores[best]:.3f}")


if __name__ == "__main__":
    main()
