import json
import pathlib
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import ROOT, Server, binary  # noqa: E402
from testing.models import make_all  # noqa: E402
from web import Web  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: left out of the quick run")


def pytest_collection_modifyitems(config, items):
    if config.getoption("markexpr"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with -m slow"))


def pytest_sessionstart(session):
    if not binary().is_file():
        pytest.exit(f"{binary()} is not there: build it, or set SWITCHYARD_BINARY", returncode=3)


@pytest.fixture(scope="session")
def models():
    """The folder of all generated models."""
    return make_all(ROOT / "build" / "test-models")


def write_config(file, entries):
    """config.json with one entry for each dict of `entries`."""
    file = pathlib.Path(file)
    file.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in entries]}))
    return file


def serve_dummy(folder, models, *args, **more):
    """A server of the dummy model on the CPU."""
    return Server(folder, "--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU", *args, **more)


def magika() -> pathlib.Path:
    """The model of ./start, with real weights; fetched here when it isn't there yet."""
    subprocess.run([ROOT / "scripts/fetch_magika"], check=True)
    return ROOT / ".deps/models/magika/1/model.onnx"


def light_resnet50() -> pathlib.Path:
    """ResNet-50's topology with constant weights, which the onnx package carries."""
    import onnx

    return pathlib.Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"


@pytest.fixture
def web():
    one = Web()
    yield one
    one.close()


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """A server with every generated model, `broken` included, which all tests share that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    names = sorted(path.name for path in models.iterdir() if path.is_dir())
    entries = [{"name": name, "base_path": str(models / name), "target_device": "CPU"} for name in names]
    entries.append({"name": "light_resnet50", "base_path": str(light_resnet50()), "target_device": "CPU"})
    config = write_config(folder / "config.json", entries)
    with Server(folder, "--config_path", config) as running:
        yield running


class Reference:
    """OpenVINO in this process, with the server's defaults on CPU."""

    def __init__(self, models):
        self.models = models
        self.core = ov.Core()
        self.compiled = {}

    def __call__(self, name, *inputs, path=None):
        """The outputs, in the model's order, as arrays."""
        if name not in self.compiled:
            if path is None:
                folder = self.models / name / "1"
                readable = (".xml", ".onnx", ".pb", ".tflite", ".pdmodel")
                path = next(file for file in sorted(folder.iterdir()) if file.suffix in readable)
                if path.name == "saved_model.pb":
                    path = folder
            self.compiled[name] = self.core.compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        result = self.compiled[name](list(inputs))
        return [np.array(result[index]) for index in range(len(result))]


@pytest.fixture(scope="session")
def reference(models):
    return Reference(models)
