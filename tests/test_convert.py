"""switchyard convert: IR of every format, in the next version folder, checked against its source; what it serves equals what
the source computes on input that was prepared by hand."""

import json
import os
import resource
import signal
import subprocess
import threading
import time

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from conftest import light_resnet50
from harness import binary, run_binary, wait_until
from test_preprocessing import image_model, named, pair_model, save

SOURCES = {
    "onnx": "onnx/1/model.onnx",
    "tensorflow": "tensorflow/1/model.pb",
    "saved_model": "saved_model/1",
    "tflite": "tflite/1/model.tflite",
    "paddle": "paddle/1/model.pdmodel",
    "ir": "dummy/1/dummy.xml",
}
MEAN = [123.68, 116.78, 103.94]
SCALE = [58.4, 57.1, 57.4]


def convert(*args, code=0, env=None, timeout_s=120):
    done = run_binary("convert", *args, env=env, timeout_s=timeout_s)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def run(xml, *inputs):
    compiled = ov.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled(list(inputs)).values()))


def source_of(models, name):
    path = models / SOURCES[name]
    return path if path.exists() else next(path.parent.glob("*" + path.suffix))


@pytest.mark.parametrize("precision", ["FP32", "FP16"])
@pytest.mark.parametrize("name", SOURCES)
def test_every_format(models, tmp_path, name, precision):
    done = convert("--input", source_of(models, name), "--output", tmp_path / "m", "--precision", precision, "--json")
    told = json.loads(done.stdout)
    assert told["version"] == 1 and told["precision"] == precision and told["compared"]
    assert told["largest_difference"] == 0
    data = np.random.default_rng(2).standard_normal((1, 10)).astype(np.float32)
    assert np.array_equal(run(tmp_path / "m" / "1" / "model.xml", data), data + 1)
    assert sorted(path.name for path in (tmp_path / "m").rglob("*")) == ["1", "model.bin", "model.xml"]


@pytest.mark.parametrize("kind", ["u32", "i16", "bf16"])
def test_outputs_of_every_number_type_are_compared(tmp_path, kind):
    x = named(ops.parameter([1, 10], np.float32), "x")
    scaled = ops.multiply(ops.abs(x), np.float32(100))
    model = ov.Model([named(ops.convert(scaled, kind), "numbers"), named(ops.negative(x), "real")], [x])
    source = save(model, tmp_path / "source") / "1" / "model.xml"
    text = convert("--input", source, "--output", tmp_path / "m").stdout
    (line,) = [line for line in text.splitlines() if line.strip().startswith("numbers: ")]
    difference, reached = line.removeprefix("  numbers: ").split(" where values reach ")
    assert float(difference) == 0 and float(reached) > 50


def test_versions_follow_each_other(models, tmp_path):
    for version in (1, 2):
        done = convert("--input", source_of(models, "onnx"), "--output", tmp_path)
        assert f"{tmp_path}/{version}/model.xml: FP32" in done.stdout
        assert "Largest difference to the source on 3 random inputs: 0" in done.stdout
        assert "reading" in done.stderr, "progress is shown"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("layout", [[], ["--layout", "NHWC:NCHW"]])
def test_mean_scale_and_reversed_channels(tmp_path, layout):
    """Reversed first, then the mean, then the scale, in the order of the model's own channels."""
    source = save(image_model(), tmp_path / "source") / "1" / "model.xml"
    convert("--input", source, "--output", tmp_path / "m", "--mean", json.dumps(MEAN), "--scale", json.dumps(SCALE),
            "--reverse_input_channels", *layout)  # fmt: skip
    data = np.random.default_rng(3).uniform(0, 255, (1, 3, 8, 6)).astype(np.float32)
    by_hand = (data - np.float32(MEAN).reshape(1, 3, 1, 1)) / np.float32(SCALE).reshape(1, 3, 1, 1)
    sent = np.ascontiguousarray(data[:, ::-1])
    if layout:
        sent = np.ascontiguousarray(sent.transpose(0, 2, 3, 1))
    found = run(tmp_path / "m" / "1" / "model.xml", sent)
    assert np.allclose(found, run(source, by_hand), atol=1e-3)


def test_shapes_of_several_inputs(tmp_path):
    source = save(pair_model(), tmp_path / "source") / "1" / "model.xml"
    args = ["--input_shape", "left[5,3],right[1:8,3]", "--mean", "left[1,2,3]", "--layout", '{"left": "NC"}']
    done = convert("--input", source, "--output", tmp_path / "m", *args, "--json")
    assert json.loads(done.stdout)["inputs"] == ["left FP32 (5,3)", "right FP32 (1:8,3)"]


def heavy_model():
    """3 MB of weights."""
    x = named(ops.parameter([1, 10], np.float32, name="x"), "x")
    weights = ops.constant(np.random.default_rng(6).standard_normal((10, 80000)).astype(np.float32))
    return ov.Model([ops.result(named(ops.matmul(x, weights, False, False), "y"))], [x], "heavy_model")


def test_half_the_size_costs_a_little(tmp_path):
    source = save(heavy_model(), tmp_path / "source") / "1" / "model.xml"
    half = json.loads(convert("--input", source, "--output", tmp_path / "m", "--precision", "FP16", "--json").stdout)
    whole = json.loads(convert("--input", source, "--output", tmp_path / "m", "--json").stdout)
    assert half["version"] == 1 and whole["version"] == 2
    assert whole["largest_difference"] == 0 and 1e-6 < half["largest_difference"] < 1e-1
    assert half["bytes"] < 0.6 * whole["bytes"]


def test_a_real_network(tmp_path):
    told = json.loads(convert("--input", light_resnet50(), "--output", tmp_path, "--json").stdout)
    assert told["inputs"] == ["gpu_0/data_0 FP32 (1,3,224,224)"] and told["largest_difference"] == 0


FAULTS = {
    "missing": (["--input", "{folder}/none.onnx"], ["none.onnx is not there"]),
    "no_model": (["--input", "{folder}/text.onnx"], ["Cannot read", "text.onnx"]),
    "shape": (["--input", "{image}", "--input_shape", "[1,5,8,6]"], ["refuses the shape", 'layer "', "image FP32 (1,3,8,6)"]),
    "no_input": (["--input", "{image}", "--mean", "x[1,2,3]"], ['mean names "x"']),
    "channels": (["--input", "{image}", "--mean", "[1,2]"], ["expected 1 value, or 3"]),
    "unclear": (["--input", "{pair}", "--mean", "left[1,2,3]"], ["--mean", 'input "left"', "--layout"]),
    "reverse": (["--input", "{pair}", "--reverse_input_channels"], ["--reverse_input_channels", "--layout"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_leaves_nothing_behind(tmp_path, case):
    args, texts = FAULTS[case]
    image = save(image_model(), tmp_path / "image") / "1" / "model.xml"
    pair = save(pair_model(), tmp_path / "pair") / "1" / "model.xml"
    (tmp_path / "text.onnx").write_text("no model")
    args = [arg.format(folder=tmp_path, image=image, pair=pair) if arg.startswith("{") else arg for arg in args]
    done = convert(*args, "--output", tmp_path / "m", code=1)
    for text in texts:
        assert text in done.stderr, done.stderr
    assert not (tmp_path / "m").exists()


def test_the_command_line(tmp_path):
    assert "--reverse_input_channels" in convert("--help").stdout
    assert "--input is missing" in convert(code=64).stderr
    done = convert("--input", "a", "--output", tmp_path / "b", "--precision", "INT8", "--calibration", "nope.npy", code=1)
    assert "nope.npy is not there" in done.stderr and "environment" not in done.stderr, done
    assert "--calibration is for" in convert("--input", "a", "--output", "b", "--calibration", "c", code=64).stderr


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    """Files cannot grow beyond a megabyte, and the writer is told so by an error, as on a disk that is full."""
    source = save(heavy_model(), tmp_path / "source") / "1" / "model.xml"
    command = [binary(), "convert", "--input", source, "--output", tmp_path / "m"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        # Python ignores the signal that would end the process, and so does what it starts when signals are not restored.
        done = subprocess.run(command, capture_output=True, text=True, restore_signals=False, timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 1 and "is the disk full?" in done.stderr, done.stderr
    assert not (tmp_path / "m").exists()


def test_a_watcher_sees_a_version_whole(models, tmp_path):
    """While versions are written, whatever has a number has both files."""
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            for path in tmp_path.iterdir():
                if path.name.isdigit():
                    seen.append(sorted(os.listdir(path)))
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(2):
            convert("--input", source_of(models, "onnx"), "--output", tmp_path)
    finally:
        stop.set()
        watcher.join()
    assert seen and all(names == ["model.bin", "model.xml"] for names in seen)


def python_that(folder, body):
    """Something in the place of a Python with NNCF."""
    program = folder / "python"
    program.write_text("#!/bin/sh\n" + body)
    program.chmod(0o755)
    return program


def test_int8_tells_the_drop(tmp_path):
    """With a stand-in for NNCF, which keeps the model as it is: what it is told, and what is made of its result."""
    source = save(image_model(), tmp_path / "source") / "1" / "model.xml"
    result = {"calibrated_with": 7, "made_up": True, "samples": 2, "largest_difference": 0.5, "largest_value": 8,
              "mean_difference": 0.125, "top1_agreement": 0.75, "accuracy_fp32": 0.9, "accuracy_int8": 0.85}  # fmt: skip
    program = python_that(tmp_path, f"""
echo "$@" > {tmp_path}/arguments
while [ $# -gt 0 ]; do case "$1" in --model) m=$2;; --output) o=$2;; --result) r=$2;; esac; shift; done
cp "$m" "$o"; cp "${{m%.xml}}.bin" "${{o%.xml}}.bin"; echo '{json.dumps(result)}' > "$r"
""")
    args = ["--input", source, "--output", tmp_path / "m", "--precision", "INT8", "--python", program, "--samples", "9"]
    done = convert(*args)
    assert "Accuracy: FP32 90.00 %, INT8 85.00 %; the drop is 5.00 points" in done.stdout
    assert "warning: calibrated with made-up input" in done.stderr
    assert "--samples 9" in (tmp_path / "arguments").read_text()
    told = json.loads(convert(*args, "--json").stdout)
    assert told["int8"]["top1_agreement"] == 0.75 and told["version"] == 2
    assert sorted(os.listdir(tmp_path / "m" / "2")) == ["model.bin", "model.xml"]


@pytest.mark.parametrize(
    "body, text",
    [
        ("echo 'x.npy: expected a .npy file' >&2; exit 1", "x.npy: expected a .npy file"),
        ("kill -9 $$", "signal 9"),
        ("exit 0", "result"),
    ],
)
def test_int8_that_fails_leaves_nothing_behind(tmp_path, body, text):
    source = save(image_model(), tmp_path / "source") / "1" / "model.xml"
    program = python_that(tmp_path, body)
    done = convert("--input", source, "--output", tmp_path / "m", "--precision", "INT8", "--python", program, code=1)
    assert text in done.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_int8_that_is_interrupted_leaves_nothing_behind(tmp_path, how):
    """Nor does what it has started go on."""
    source = save(image_model(), tmp_path / "source") / "1" / "model.xml"
    child = tmp_path / "child"
    program = python_that(tmp_path, f"echo $$ > {child}.new; mv {child}.new {child}; sleep 60 & wait")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [binary(), "convert", "--input", source, "--output", tmp_path / "m", "--precision", "INT8", "--python", program]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)})
    wait_until(child.exists, 60, "the child")
    assert list(temporary.iterdir()) and list((tmp_path / "m").iterdir())
    process.send_signal(how)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in told, told
    wait_until(lambda: not os.path.exists(f"/proc/{child.read_text().strip()}"), 10, "the child's end")
    assert not (tmp_path / "m").exists() and not list(temporary.iterdir())


@pytest.mark.slow
def test_int8_in_an_environment_of_its_own(tmp_path):
    """NNCF itself, fetched, used and thrown away. Needs the network."""
    features = image_model()
    flat = ops.reduce_mean(features.outputs[0].get_node().input_value(0), ops.constant(np.array([2, 3], np.int64)), False)
    model = ov.Model([ops.result(named(flat, "scores"))], features.get_parameters(), "scores")
    source = save(model, tmp_path / "source") / "1" / "model.xml"
    calibration = tmp_path / "calibration.npy"
    np.save(calibration, np.random.default_rng(4).standard_normal((64, 3, 8, 6)).astype(np.float32))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = convert("--input", source, "--output", tmp_path / "m", "--precision", "INT8", "--calibration", calibration, "--json",
                   env={"TMPDIR": str(temporary)}, timeout_s=900)  # fmt: skip
    told = json.loads(done.stdout)
    assert told["int8"]["calibrated_with"] == 56 and not told["int8"]["made_up"]
    assert 0 < told["int8"]["largest_difference"] < 0.5 and told["int8"]["top1_agreement"] > 0.5
    assert "FakeQuantize" in (tmp_path / "m" / "1" / "model.xml").read_text()
    assert not list(temporary.iterdir()), "the environment is gone"
