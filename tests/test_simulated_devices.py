"""The devices of testing/: OpenVINO finds them, they compute what they should, and they fail and recover on demand.

OpenVINO runs in child processes here, with the environment and a working directory of their own.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import light_resnet50
from harness import ROOT, Server, sanitized

from testing.devices import Faults, gpu_env, npu_env

# A Python without a sanitizer cannot load a simulator with one; testing/npusim/npusim_test.cpp is for those builds.
pytestmark = pytest.mark.skipif(sanitized(), reason="the simulators of this build need a process with its sanitizer")

PRELUDE = """
import json, os, sys, time
import numpy as np
import openvino as ov
from openvino import opset13 as ops
sys.path.insert(0, os.environ["ROOT"])
from testing.devices import Faults

faults = Faults(os.environ["FAULTS"])
x, y = (ops.parameter([1, 10], np.float32, name=name) for name in "xy")
add = ov.Model([ops.add(x, y)], [x, y], "add")
data = [np.arange(10, dtype=np.float32).reshape(1, 10), np.full((1, 10), 0.1, np.float32)]
total = data[0] + data[1]
core = ov.Core()

def infer(request):
    request.infer(data)
    return request.get_output_tensor().data.copy()

def error_of(call):
    try:
        call()
    except RuntimeError as error:
        return str(error)
    return None

def tell(**what):
    print(json.dumps(what))
"""


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "faults")


@pytest.fixture
def probe(tmp_path, faults):
    """Runs lines of Python behind PRELUDE; returns what they `tell`."""

    def run(env, body):
        result = subprocess.run(
            [sys.executable, "-c", PRELUDE + body],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, **env, "FAULTS": str(faults.path), "ROOT": str(ROOT)},
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    return run


def test_one_gpu_and_the_npu_in_one_process(probe, faults):
    told = probe(
        {**gpu_env(), **npu_env()},
        """
request = core.compile_model(add, "GPU").create_infer_request()
tell(devices=core.available_devices, gpu=core.get_property("GPU", "FULL_DEVICE_NAME"),
     npu=core.get_property("NPU", "FULL_DEVICE_NAME"), shape=list(infer(request).shape))
""",
    )
    assert told["devices"] == ["CPU", "GPU", "NPU"]
    assert told["gpu"].endswith("(dGPU)")
    assert told["npu"] == "Software NPU (npusim)"
    assert told["shape"] == [1, 10]


def test_an_integrated_gpu(probe):
    told = probe(gpu_env(kind="tgllp"), 'tell(name=core.get_property("GPU", "FULL_DEVICE_NAME"))')
    assert told["name"].endswith("(iGPU)")


def test_faults_of_one_gpu_of_two(probe, faults):
    told = probe(
        gpu_env(count=2, fault_file=faults.path),
        """
devices = [device for device in core.available_devices if device != "CPU"]
requests = [core.compile_model(add, device).create_infer_request() for device in devices]
faults.set("out_of_resources@1")
resources = [error_of(lambda: infer(request)) for request in requests]
faults.set("out_of_memory@1")
memory = [error_of(lambda: core.compile_model(add, device)) for device in devices]
faults.set("hang@1")
for request in requests:
    request.start_async(data)
hung = [not request.wait_for(500) for request in requests]
faults.clear()
for request in requests:
    request.wait()
tell(devices=devices, resources=resources, memory=memory, hung=hung, again=[error_of(lambda: infer(r)) for r in requests])
""",
    )
    assert told["devices"] == ["GPU.0", "GPU.1"]
    assert told["resources"][0] is None and "CL_OUT_OF_RESOURCES" in told["resources"][1]
    assert told["memory"][0] is None and "Can not allocate" in told["memory"][1]
    assert told["hung"] == [False, True]
    assert told["again"] == [None, None]


def test_a_gpu_that_fails_now_and_then(probe, faults):
    told = probe(
        gpu_env(fault_file=faults.path),
        """
request = core.compile_model(add, "GPU").create_infer_request()
infer(request)
faults.set("out_of_resources", "once_in:100")
tell(failed=[error_of(lambda: infer(request)) is not None for _ in range(4)])
""",
    )
    assert told["failed"] == [True, False, False, False], "an inference of this model starts fewer than 25 kernels"


HANG = """
compiled = core.compile_model(add, DEVICE)
first, second = compiled.create_infer_request(), compiled.create_infer_request()
infer(first), infer(second)
faults.set("hang")
begin = time.monotonic()
first.start_async(data)
second.start_async(data)
started_s = time.monotonic() - begin
ended = [first.wait_for(300), second.wait_for(1)]
cpu = core.compile_model(add, "CPU").create_infer_request()
cpu_right = bool(np.array_equal(infer(cpu), total))
name = core.get_property(DEVICE, "FULL_DEVICE_NAME")
still = first.wait_for(1)
faults.clear()
first.wait(), second.wait()
tell(started_s=started_s, ended=ended + [still], cpu=cpu_right, name=name,
     right=[bool(np.array_equal(r.get_output_tensor().data, total)) for r in (first, second)])
"""


@pytest.mark.parametrize("device", ["GPU", "NPU"])
def test_a_hang_holds_what_waits_until_it_is_lifted(probe, faults, device):
    env = gpu_env(fault_file=faults.path) if device == "GPU" else npu_env(fault_file=faults.path)
    told = probe(env, f"DEVICE = {device!r}\n" + HANG)
    assert told["started_s"] < 0.2, "start_async() must return"
    assert told["ended"] == [False, False, False]
    assert told["cpu"] and told["name"]
    assert told["right"] == [device == "NPU"] * 2, "the NPU computes, the GPU leaves zeros"


def test_the_npu_equals_the_cpu_bit_for_bit(probe):
    told = probe(
        {**npu_env(), "MODEL": str(light_resnet50())},
        """
random = np.random.default_rng(1)
def outputs(model, device, inputs):
    config = {"INFERENCE_PRECISION_HINT": "f32"} if device == "CPU" else {}
    return list(core.compile_model(model, device, config)(inputs).values())

resnet = core.read_model(os.environ["MODEL"])
image = [random.standard_normal(resnet.input(0).shape).astype(np.float32)]
z = ops.parameter([4, 64], np.float32, name="z")
weights = ops.constant(random.standard_normal((64, 32)).astype(np.float32))
product = ops.matmul(z, weights, False, False)
mixed = ov.Model([ops.softmax(product, 1), ops.convert(ops.round(product), "i32")], [z], "mixed")
same = ov.Model([ops.result(x)], [x], "same")  # nothing between input and output
rows = [random.standard_normal((4, 64)).astype(np.float32)]
tell(equal=[[bool(np.array_equal(a, b)) for a, b in zip(outputs(m, "NPU", i), outputs(m, "CPU", i), strict=True)]
            for m, i in ((resnet, image), (mixed, rows), (add, data), (same, data[:1]))],
     nonzero=bool(np.any(outputs(mixed, "NPU", rows)[1])))
""",
    )
    assert told == {"equal": [[True], [True, True], [True], [True]], "nonzero": True}


def test_each_fault_of_the_npu_goes_away_when_it_is_cleared(probe, faults):
    told = probe(
        npu_env(fault_file=faults.path),
        """
request = core.compile_model(add, "NPU").create_infer_request()
def fresh():
    return infer(core.compile_model(add, "NPU").create_infer_request())

infer(request)
errors = {}
for fault, call in (("execute", lambda: infer(request)), ("create", fresh), ("compiler", fresh), ("alloc", fresh)):
    faults.set(fault)
    errors[fault] = [error_of(call)]
    faults.clear()
    errors[fault].append(error_of(call))
faults.set("hang")
request.start_async(data)
assert not request.wait_for(300)  # it hangs by now, on a busy machine too
faults.set("execute")
errors["reset"] = [error_of(request.wait)]
faults.clear()
errors["reset"].append(error_of(lambda: infer(request)))
tell(**errors, right=bool(np.array_equal(infer(request), total)))
""",
    )
    expected = {
        "execute": "zeCommandQueueExecuteCommandLists result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001",
        "create": "npusim: compilation failed on request",
        "compiler": "ZE_RESULT_ERROR_UNSUPPORTED_FEATURE, code 0x78000003",
        "alloc": "ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY",
        "reset": "ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001",
    }
    for fault, text in expected.items():
        assert text in told[fault][0], fault
        assert told[fault][1] is None, fault
    assert told["right"]


def test_no_npu_where_its_driver_does_not_start(probe):
    told = probe(npu_env(fail="init"), "tell(devices=core.available_devices)")
    assert told["devices"] == ["CPU"]


def test_operators_that_the_npu_lacks(probe):
    told = probe(
        npu_env(unsupported_ops="Add"),
        """
config = {"DEVICE_PROPERTIES": {"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}}
doubled = ops.multiply(x, ops.constant(np.float32(2)))
split = ov.Model([ops.add(doubled, y), doubled], [x, y], "split")
layers = {op.get_friendly_name(): op.get_type_name() for op in split.get_ops()}
on_npu = sorted({layers[name] for name in core.query_model(split, "NPU")} - {"Parameter", "Result", "Constant"})
compiled = core.compile_model(split, "HETERO:NPU,CPU", config)
sums, doubles = compiled(data).values()
tell(on_npu=on_npu, devices=compiled.get_property("EXECUTION_DEVICES"),
     right=[bool(np.array_equal(sums, data[0] * 2 + data[1])), bool(np.array_equal(doubles, data[0] * 2))])
""",
    )
    assert told == {"on_npu": ["Multiply"], "devices": ["NPU", "CPU"], "right": [True, True]}


@pytest.mark.parametrize("device", ["GPU.1", "NPU"])
def test_the_server_serves_from_them(models, tmp_path, device):
    folder = pathlib.Path(models) / "add_two_inputs"
    arguments = ["--model_name", "m", "--model_path", folder, "--target_device", device]
    env = {**gpu_env(count=2), **npu_env()}
    values = list(range(10))
    body = {"inputs": [{"name": f"input{i}", "shape": [1, 10], "datatype": "FP32", "data": values} for i in (1, 2)]}
    with Server(tmp_path, *arguments, env=env, cwd=tmp_path) as server:
        answer = server.http("POST", "/v2/models/m/infer", body)
        assert answer.code == 200, answer
        (output,) = answer.json()["outputs"]
        assert output["data"] == ([2 * value for value in values] if device == "NPU" else [0] * 10)
