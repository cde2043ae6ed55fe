"""The server's answers are OpenVINO's own, bit for bit, with the same settings on the same device."""

import pathlib

import numpy as np
import pytest

from clients import FRONT_ENDS, KserveGrpc, KserveRestBinary, TfsGrpc, ask, tensor
from conftest import light_resnet50, magika, write_config
from harness import ROOT, Server

random = np.random.default_rng(7)
TEN = random.standard_normal((1, 10)).astype(np.float32)
FORMATS = {
    "dummy": ("b", "a"),
    "onnx": ("b", "a"),
    "onnx_dynamic": ("b", "a"),
    "tensorflow": ("b:0", "a:0"),
    "saved_model": ("b", "a"),
    "tflite": ("b", "a"),
    "paddle": ("b", "a"),
}


@pytest.mark.parametrize("model", FORMATS)
@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda kind: kind.name)
def test_every_format(server, reference, front_end, model):
    source, target = FORMATS[model]
    (wanted,) = reference(model, TEN)
    found = ask(server, front_end, model, [tensor(source, "FP32", TEN)])
    assert list(found) == [target]
    assert np.asarray(found[target].data, np.float32).tobytes() == wanted.tobytes()
    assert np.array_equal(wanted, TEN + 1)


@pytest.mark.parametrize("front_end", [KserveGrpc, KserveRestBinary, TfsGrpc], ids=lambda kind: kind.name)
def test_sink(server, reference, front_end):
    data = random.standard_normal((1, 3, 224, 224)).astype(np.float32)
    (wanted,) = reference("sink", data)
    assert ask(server, front_end, "sink", [tensor("x", "FP32", data)])["sum"].raw() == wanted.tobytes()


@pytest.mark.parametrize("front_end", [KserveGrpc, KserveRestBinary, TfsGrpc], ids=lambda kind: kind.name)
def test_resnet50(server, reference, front_end):
    data = random.standard_normal((1, 3, 224, 224)).astype(np.float32)
    (wanted,) = reference("light_resnet50", data, path=light_resnet50())
    found = ask(server, front_end, "light_resnet50", [tensor("gpu_0/data_0", "FP32", data)])
    assert found["gpu_0/softmax_1"].raw() == wanted.tobytes()


def magika_input(content: bytes):
    """The first 1024 bytes of the stripped beginning and the last 1024 of the stripped end, padded by 256."""
    begin, end = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    row = list(begin) + [256] * (1024 - len(begin)) + [256] * (1024 - len(end)) + list(end)
    return np.array([row], np.int32)


def test_magika(reference, tmp_path):
    model = magika()
    rows = np.concatenate([magika_input(pathlib.Path(file).read_bytes()) for file in (__file__, ROOT / "src/main.cpp")])
    (wanted,) = reference("magika", rows, path=model)
    config = write_config(tmp_path / "config.json", [{"name": "magika", "base_path": str(model), "target_device": "CPU"}])
    with Server(tmp_path, "--config_path", config) as server:
        for front_end in (KserveGrpc, KserveRestBinary, TfsGrpc):
            made = front_end(server)
            found = made.infer("magika", [tensor("bytes", "INT32", rows)])
            made.close()
            assert found.ok, found
            assert found.outputs["target_label"].raw() == wanted.tobytes()
