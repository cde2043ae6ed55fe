"""mean, scale, color_format, precision, layout, shapes and mapping_config.json: answers equal to OpenVINO's own pre-processing
in this process, from the command line and from config.json; and what every faulty value is told."""

import json

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from openvino.preprocess import ColorFormat, PrePostProcessor

from clients import FRONT_ENDS, ask, tensor
from conftest import write_config
from harness import Server, run_binary

random = np.random.default_rng(11)
MEAN = [123.675, 116.28, 103.53]
SCALE = [58.395, 57.12, 57.375]
BYTES = random.integers(0, 256, (1, 8, 6, 3), np.uint8)


def save(model, folder):
    (folder / "1").mkdir(parents=True)
    ov.save_model(model, folder / "1" / "model.xml", compress_to_fp16=False)
    return folder


def named(node, name):
    node.output(0).get_tensor().set_names({name})
    return node


def image_model(channels=3):
    """image NCHW -> features: a convolution, so that channels and places matter."""
    image = named(ops.parameter([1, channels, 8, 6], np.float32, name="image"), "image")
    kernel = ops.constant(np.random.default_rng(5).standard_normal((4, channels, 3, 3)).astype(np.float32))
    features = ops.convolution(image, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([ops.result(named(features, "features"))], [image], "image_model")


def pair_model():
    left = named(ops.parameter([1, 3], np.float32, name="left"), "left")
    right = named(ops.parameter([1, 3], np.float32, name="right"), "right")
    total = named(ops.add(ops.multiply(left, ops.constant(np.float32(10))), right), "total")
    return ov.Model([ops.result(total)], [left, right], "pair_model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(image_model(), folder / "image")
    save(image_model(1), folder / "gray")
    save(pair_model(), folder / "pair")
    return folder


def reference(model, steps, *inputs):
    """What OpenVINO's own processor, set up by `steps`, answers."""
    processor = PrePostProcessor(model)
    steps(processor)
    compiled = ov.Core().compile_model(processor.build(), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return next(iter(compiled(list(inputs)).values()))


def normalised(processor):
    info = processor.input()
    info.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    info.model().set_layout(ov.Layout("NCHW"))
    steps = info.preprocess().convert_color(ColorFormat.RGB).convert_element_type(ov.Type.f32)
    steps.mean(MEAN).scale(SCALE)


NORMALISED = {
    "layout": "NHWC:NCHW",
    "color_format": "RGB:BGR",
    "precision": "UINT8:FP32",
    "mean": json.dumps(MEAN),
    "scale": json.dumps(SCALE),
}


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory):
    gray = {"layout": {"image": "NHWC:NCHW"}, "color_format": {"image": "GRAY:RGB"}, "precision": {"image": "U8"}}
    entries = [
        {"name": "by_config", "base_path": str(folder / "image"), **NORMALISED, "mean": MEAN, "scale": {"image": SCALE}},
        {"name": "gray", "base_path": str(folder / "gray"), **gray, "mean": 4},
        {"name": "pair", "base_path": str(folder / "pair"), "mean": {"left": 1.5}, "scale": {"right": "[4]"},
         "precision": {"right": "I32:FP32"}, "shape": {"left": "(2,3)", "right": "(2,3)"}},
    ]  # fmt: skip
    tmp = tmp_path_factory.mktemp("served")
    with Server(tmp, "--config_path", write_config(tmp / "config.json", entries)) as running:
        yield running


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda kind: kind.name)
def test_config_file(served, front_end):
    wanted = reference(image_model(), normalised, BYTES)
    found = ask(served, front_end, "by_config", [tensor("image", "UINT8", BYTES)])
    assert np.asarray(found["features"].data, np.float32).tobytes() == wanted.tobytes()


def test_command_line(folder, tmp_path):
    args = [word for name, value in NORMALISED.items() for word in (f"--{name}", value)]
    wanted = reference(image_model(), normalised, BYTES)
    with Server(tmp_path, "--model_name", "m", "--model_path", folder / "image", "--target_device", "CPU", *args) as server:
        meta = server.http("GET", "/v2/models/m").json()
        assert meta["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [1, 8, 6, 3]}]
        found = ask(server, FRONT_ENDS[0], "m", [tensor("image", "UINT8", BYTES)])
        assert np.asarray(found["features"].data, np.float32).tobytes() == wanted.tobytes()


def test_gray(served):
    def steps(processor):
        info = processor.input()
        info.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.RGB)
        info.model().set_layout(ov.Layout("NCHW"))
        info.preprocess().convert_color(ColorFormat.GRAY).convert_element_type(ov.Type.f32).mean(4)

    wanted = reference(image_model(1), steps, BYTES)
    found = ask(served, FRONT_ENDS[0], "gray", [tensor("image", "UINT8", BYTES)])
    assert np.asarray(found["features"].data, np.float32).tobytes() == wanted.tobytes()


def test_each_input_has_its_own(served):
    left = random.standard_normal((2, 3)).astype(np.float32)
    right = random.integers(-9, 9, (2, 3), np.int32)
    found = ask(served, FRONT_ENDS[0], "pair", [tensor("left", "FP32", left), tensor("right", "INT32", right)])
    wanted = (left - np.float32(1.5)) * 10 + right.astype(np.float32) / 4
    assert np.allclose(np.asarray(found["total"].data, np.float32).reshape(2, 3), wanted, atol=1e-5)


def test_mapping(folder, tmp_path):
    save(pair_model(), tmp_path / "pair")
    mapping = {"inputs": {"left": "a", "right": "b"}, "outputs": {"total": "sum"}}
    (tmp_path / "pair" / "1" / "mapping_config.json").write_text(json.dumps(mapping))
    args = ["--model_name", "m", "--model_path", tmp_path / "pair", "--target_device", "CPU", "--mean", '{"b": 1}']
    ones = np.ones((1, 3), np.float32)
    with Server(tmp_path / "server", *args) as server:
        found = ask(server, FRONT_ENDS[0], "m", [tensor("a", "FP32", ones), tensor("b", "FP32", ones)])
        assert list(found) == ["sum"]
        assert list(np.asarray(found["sum"].data).reshape(-1)) == [10, 10, 10]


# Flags, and what the refusal says beside the flag's name. Exit code 64: before anything is read.
USAGE = {
    "mean": (["--mean", "a"], ["--mean", "expected a finite number", '"a"']),
    "mean_no_layout": (["--mean", "[1,2,3]"], ["--mean", "expected a layout with C", "got no layout"]),
    "scale": (["--scale", "[1,0]", "--layout", "NCHW"], ["--scale", "other than 0", "[1,0]"]),
    "color": (["--color_format", "RGB:CMYK", "--layout", "NCHW"], ["--color_format", "RGB, BGR, GRAY", "RGB:CMYK"]),
    "precision": (["--precision", "FP31"], ["--precision", "FP31", "FP32"]),
    "layout": (["--layout", "NXHW"], ["--layout", "NXHW"]),
    "shape": (["--shape", "(1,x)"], ["--shape", '"x"']),
    "batch": (["--batch_size", "many"], ["--batch_size", '"many"', "auto"]),
    "limit": (["--auto_shape_limit", "0"], ["--auto_shape_limit", "1 to 1000"]),
}
# What only the model can tell. Exit code 1.
MODEL = {
    "no_such_input": (["--mean", '{"x": 1}'], ['mean names "x"', "image FP32 (1,3,8,6)"]),
    "channels": (["--mean", "[1,2]", "--layout", "NCHW"], ['Input "image"', "expected 1 value, or 3", "got 2"]),
    "shape": (["--shape", "(1,5,8,6)"], ["refuses the shape", 'layer "', "image FP32 (1,3,8,6)"]),
    "layout": (["--layout", "NC:CN"], ['Input "image"', "NC:CN"]),
}


@pytest.mark.parametrize("case", USAGE)
def test_faulty_values_are_refused_before_anything_is_loaded(folder, case):
    args, texts = USAGE[case]
    done = run_binary("--rest_port", "auto", "--rest_bind_address", "127.0.0.1", "--model_name", "m", "--model_path",
                      folder / "image", *args)  # fmt: skip
    assert done.returncode == 64, done.stderr
    for text in texts:
        assert text in done.stderr, done.stderr


@pytest.mark.parametrize("case", MODEL)
def test_what_the_model_refuses_names_the_place(folder, case):
    args, texts = MODEL[case]
    done = run_binary("--rest_port", "auto", "--rest_bind_address", "127.0.0.1", "--model_name", "m", "--target_device", "CPU",
                      "--model_path", folder / "image", *args)  # fmt: skip
    assert done.returncode == 1, done.stderr
    for text in texts:
        assert text in done.stderr, done.stderr
