"""Each kind of target_device, on the real plugins over simulated devices: what is placed where, what is refused, and why."""

import concurrent.futures
import json
import time

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from harness import Server, run_binary, sanitized, wait_until
from testing.devices import gpu_env, npu_env
from testing.steady_clients import SteadyClients

pytestmark = pytest.mark.skipif(sanitized(), reason="Intel's driver and the simulators do not run under a sanitizer's binary")
INFER = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": list(range(10))}]}


def serve(models, tmp_path, model, target, *args, env=None):
    flags = ("--model_name", "m", "--model_path", models / model, "--target_device", target)
    return Server(tmp_path / "run", *flags, *args, env=env, cwd=tmp_path)


def placement(server):
    answer = server.http("GET", "/v1/models/m/placement")
    assert answer.code == 200, answer
    return answer.json()


def handed_over(server):
    return wait_until(lambda: (p := placement(server)) and not p["helping"] and p, 60, "the hand-over")


def refusal(models, model, target, *args, env=None):
    """What a start that fails says; `plan` says the same without a server."""
    flags = ("--model_name", "m", "--model_path", models / model, "--target_device", target, *args)
    done = run_binary("plan", *flags, env=env)
    assert done.returncode == 1, done
    return done.stderr


@pytest.mark.parametrize(
    "target,count,device", [("GPU", 1, "GPU.0"), ("GPU.0", 2, "GPU.0"), ("GPU.1", 2, "GPU.1"), ("AUTO", 1, "GPU.0")]
)
def test_gpu(models, tmp_path, target, count, device):
    with serve(models, tmp_path, "dummy", target, env=gpu_env(count=count)) as server:
        placed = handed_over(server)
        assert placed["execution_devices"] == [device] and placed["target_device"] == target
        assert server.http("POST", "/v2/models/m/infer", INFER).code == 200
        assert placement(server)["by_device"][device]["requests_served"] >= 1
        states = {one["name"]: one["state"] for one in server.http("GET", "/v1/devices").json()["devices"]}
        assert states[device] == "well" and states["NPU"] == "absent" and states["CPU"] == "well"


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_second_start_imports_what_the_first_compiled(models, tmp_path, kind):
    env = gpu_env() if kind == "GPU" else npu_env()
    caches = []
    for _ in range(2):
        with serve(models, tmp_path, "dummy", kind, "--cache_dir", tmp_path / "cache", env=env) as server:
            caches.append(placement(server)["cache"])
            answer = server.http("POST", "/v2/models/m/infer", INFER)
            assert answer.code == 200
            if kind == "NPU":
                assert answer.json()["outputs"][0]["data"] == list(range(1, 11))
    assert caches == ["miss", "hit"]


def test_npu_answers_are_those_of_the_cpu(models, tmp_path, reference):
    value = np.random.default_rng(1).standard_normal((1, 10)).astype(np.float32)
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": value.ravel().tolist()}]}
    with serve(models, tmp_path, "dummy", "NPU", env=npu_env()) as server:
        got = np.array(server.http("POST", "/v2/models/m/infer", body).json()["outputs"][0]["data"], np.float32)
    assert np.array_equal(got, (value + np.float32(1)).ravel())


def test_auto_goes_from_cpu_over_to_the_npu_and_a_gpu_stands_by(models, tmp_path):
    with serve(models, tmp_path, "dummy", "AUTO:NPU,GPU,CPU", env={**gpu_env(), **npu_env(delay_ms=1)}) as server:
        with SteadyClients(server.grpc, computes=False, count=2, model="m") as clients:
            wait_until(lambda: placement(server)["execution_devices"] == ["NPU"], 60, "the NPU")
            wait_until(lambda: placement(server)["by_device"]["GPU.0"]["state"] == "standby", 60, "the standby")
            clients.go_on()
        assert clients.faults == []


def test_hetero_splits_by_what_the_npu_can(models, tmp_path):
    flags = ("plan", "--model_path", models / "two_operations", "--target_device", "HETERO:NPU,CPU", "--json")
    done = run_binary(*flags, env=npu_env(unsupported_ops="ReLU"))
    assert done.returncode == 0, done.stderr
    placed = json.loads(done.stdout)
    assert placed["layers_by_type"]["CPU"]["Relu"] == 1 and placed["layers_by_type"]["NPU"]["Add"] == 1
    whole = json.loads(run_binary(*flags, env=npu_env()).stdout)
    assert "CPU" not in whole["layers"] and "CPU got no layer of the model" in whole["reasons"]
    strict = run_binary(*flags, "--strict_placement", env=npu_env())
    assert strict.returncode == 1 and "CPU" in strict.stderr


def test_an_input_that_two_devices_read(tmp_path):
    """HETERO has the first device hand it on to the second, beside computing with it."""
    x = ops.parameter([1, 3], np.float32, name="x")
    exp, product = ops.exp(x), ops.multiply(x, ops.constant(np.float32(100)))
    for port, name in ((x, "x"), (exp, "exp"), (product, "product")):
        port.output(0).set_names({name})
    (tmp_path / "two" / "1").mkdir(parents=True)
    model = openvino.Model([exp, product], [x], "two")
    openvino.save_model(model, tmp_path / "two" / "1" / "model.xml", compress_to_fp16=False)
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    env, cache = npu_env(unsupported_ops="Multiply"), ("--cache_dir", tmp_path / "cache")
    for target in ("HETERO:NPU,CPU", "HETERO:NPU,CPU", "HETERO:CPU,NPU"):  # compiled, then from the cache
        with serve(tmp_path, tmp_path, "two", target, *cache, env=env) as server:
            answer = server.http("POST", "/v2/models/m/infer", body)
            outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
            assert np.allclose(outputs["exp"], np.exp([1, 2, 3])) and outputs["product"] == [100, 200, 300]


def test_hetero_without_one_of_its_devices(models, tmp_path):
    with serve(models, tmp_path, "dummy", "HETERO:GPU,CPU") as server:
        placed = placement(server)
        assert placed["execution_devices"] == ["CPU"]
        assert any("GPU.0" in reason for reason in placed["reasons"])
    assert "GPU.0" in refusal(models, "dummy", "HETERO:GPU,CPU", "--strict_placement")


@pytest.mark.parametrize("target", ["MULTI:GPU,CPU", "AUTO:GPU,CPU"])
def test_all_devices_at_once(models, tmp_path, target):
    hint = ("--plugin_config", '{"PERFORMANCE_HINT": "CUMULATIVE_THROUGHPUT"}')
    with serve(models, tmp_path, "dummy", target, *hint, env=gpu_env()) as server:
        wait_until(lambda: len(placement(server)["execution_devices"]) == 2, 60, "both devices")
        assert placement(server)["execution_devices"] == ["GPU.0", "CPU"]


def test_batches_are_filled_and_rows_never_mix(models, tmp_path):
    config = ("--plugin_config", '{"AUTO_BATCH_TIMEOUT": 200}')
    with serve(models, tmp_path, "dummy", "BATCH:CPU(16)", *config) as server:
        assert placement(server)["batch_size"] == 16 and placement(server)["num_requests"] % 16 == 0
        begin = time.monotonic()
        assert server.http("POST", "/v2/models/m/infer", INFER).code == 200
        alone = time.monotonic() - begin
        assert 0.15 < alone < 1.0, "a lone request waits for the timeout, and no longer"

        # Sixteen at once, again and again: had one round missed its batch, it would have waited for the timeout.
        def call(index):
            body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [index] * 10}]}
            return server.http("POST", "/v2/models/m/infer", body).json()["outputs"][0]["data"] == [index + 1] * 10

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            times = []
            for _ in range(20):
                begin = time.monotonic()
                assert all(pool.map(call, range(16)))
                times.append(time.monotonic() - begin)
        assert sorted(times)[10] < 0.15
        with SteadyClients(server.grpc, count=32, model="m") as clients:
            clients.go_on()
            clients.go_on()
        assert clients.faults == []


def test_what_a_target_cannot_do_is_refused_with_the_remedy(models):
    assert "static models" in refusal(models, "dynamic_batch", "BATCH:CPU(16)")
    text = refusal(models, "onnx_dynamic", "NPU", env=npu_env())
    assert "static" in text and "--shape" in text
    for target, word in [
        ("FOO", "FOO"),
        ("AUTO:", "empty"),
        ("BATCH:CPU(0)", "0"),
        ("HETERO:", "HETERO"),
        ("HETERO:CPU,CPU", "CPU"),
        ("AUTO:GPU,,CPU", "entry 2"),
        ("GPU", "/dev/dri"),
        ("NPU", "NPU"),
    ]:
        assert word in refusal(models, "dummy", target), target


def test_streams_win_over_a_hint_and_strict_refuses_both(models):
    config = ("--plugin_config", '{"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY"}')
    done = run_binary("plan", "--model_path", models / "dummy", "--target_device", "CPU", "--json", *config)
    placed = json.loads(done.stdout)
    assert placed["num_streams"] == 2 and any("NUM_STREAMS" in reason for reason in placed["reasons"])
    strict = refusal(models, "dummy", "CPU", *config, "--strict")
    assert "NUM_STREAMS" in strict and "PERFORMANCE_HINT" in strict
