"""The commands that people copy out of a manual: curl."""

import json
import shutil
import subprocess

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


def curl(*args):
    """(status code, body)"""
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *map(str, args)], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    body, _, code = done.stdout.rpartition(b"\n")
    return int(code), body


def test_reading(server):
    base = f"http://{server.rest}"
    assert curl(f"{base}/v2/health/live")[0] == 200
    assert curl("-I", f"{base}/v2/health/ready")[0] == 200
    assert json.loads(curl(f"{base}/v2/models/dummy")[1])["name"] == "dummy"
    assert json.loads(curl(f"{base}/v1/models/dummy")[1])["model_version_status"][0]["state"] == "AVAILABLE"
    assert curl(f"{base}/v1/models/nothing")[0] == 404


def test_kserve_and_tfs(server):
    base = f"http://{server.rest}"
    kserve = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": TEN.reshape(-1).tolist()}]}
    code, body = curl("-d", json.dumps(kserve), f"{base}/v2/models/dummy/infer")
    assert code == 200 and json.loads(body)["outputs"][0]["data"] == (TEN + 1).reshape(-1).tolist()
    code, body = curl("-d", json.dumps({"instances": TEN.tolist()}), f"{base}/v1/models/dummy:predict")
    assert code == 200 and json.loads(body) == {"predictions": (TEN + 1).tolist()}


def test_binary_file(server, tmp_path):
    head = json.dumps(
        {
            "inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "parameters": {"binary_data_size": 40}}],
            "outputs": [{"name": "a", "parameters": {"binary_data": True}}],
        }
    ).encode()
    file = tmp_path / "request.bin"
    file.write_bytes(head + TEN.tobytes())
    code, body = curl(
        "--data-binary",
        f"@{file}",
        "-H",
        f"Inference-Header-Content-Length: {len(head)}",
        "-H",
        "Content-Type: application/octet-stream",
        f"http://{server.rest}/v2/models/dummy/infer",
    )
    assert code == 200 and body.endswith((TEN + 1).tobytes())


def test_compressed_and_large(server):
    """A body of more than a kilobyte makes curl wait for 100 Continue; --compressed asks for a compressed answer."""
    data = [0.5] * 5000
    kserve = {"inputs": [{"name": "data", "shape": [1, 5000], "datatype": "FP32", "data": data}]}
    code, body = curl(
        "--compressed", "-H", "Expect: 100-continue", "-d", json.dumps(kserve),
        f"http://{server.rest}/v2/models/passthrough_fp32/infer",
    )  # fmt: skip
    assert code == 200 and json.loads(body)["outputs"][0]["data"] == data
