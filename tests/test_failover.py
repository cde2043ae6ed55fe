"""Devices that fail, hang and come back, under clients that check every answer: the real GPU plugin on Intel's recording
driver (which computes nothing), the real NPU plugin on the software NPU (its answers are right)."""

import json
import re
import time

import pytest

from harness import Server, sanitized, wait_until
from testing.devices import Faults, gpu_env, npu_env
from testing.steady_clients import SteadyClients

# How long a device may take to be left, home again, and ready, over what the server promises: the machine may be busy.
SLACK_S = 1.5
HOME_S = 45

pytestmark = pytest.mark.skipif(sanitized(), reason="Intel's driver and the simulators do not run under a sanitizer's binary")


def serve(models, folder, target, env, *args):
    return Server(
        folder,
        *("--model_name", "dummy", "--model_path", models / "dummy", "--target_device", target),
        *args,
        env=env,
    )


def served(server, device):
    return server.metric(rf'^switchyard_requests_total{{.*device="{re.escape(device)}".*code="OK"')


def state_is(server, device, state):
    return server.metric(rf'^switchyard_device_state{{device="{re.escape(device)}",state="{state}"}}') == 1


def wait_served_by(server, device, limit_s=HOME_S):
    before = served(server, device)
    wait_until(lambda: served(server, device) > before, limit_s, f"calls on {device}")


def failovers(server, source, target, reason):
    return server.metric(rf'^switchyard_failovers_total{{model="dummy",from="{source}",to="{target}",reason="{reason}"}}')


def devices(tmp_path, kind):
    faults = Faults(tmp_path / "faults")
    return faults, (gpu_env(fault_file=faults.path) if kind == "GPU" else npu_env(fault_file=faults.path))


CASES = [
    ("GPU", "GPU.0", "out_of_resources", "error", 0),
    ("GPU", "GPU.0", "hang", "hang", 500),
    ("NPU", "NPU", "execute", "error", 0),
    ("NPU", "NPU", "hang", "hang", 500),
]


@pytest.mark.parametrize("kind,device,fault,reason,timeout_ms", CASES, ids=lambda value: str(value))
def test_no_client_sees_a_device_fail(models, tmp_path, kind, device, fault, reason, timeout_ms):
    faults, env = devices(tmp_path, kind)
    with serve(models, tmp_path, f"AUTO:{kind},CPU", env, "--device_timeout_ms", timeout_ms) as server:
        with SteadyClients(server.grpc, computes=kind != "GPU") as clients:
            wait_served_by(server, device)
            faults.set(fault)
            begin = time.monotonic()
            wait_until(lambda: failovers(server, device, "CPU", reason) == 1, 20, "the failover")
            assert time.monotonic() - begin < timeout_ms / 1000 + SLACK_S
            clients.go_on()
            assert not state_is(server, device, "well")
            faults.clear()
            wait_until(lambda: state_is(server, device, "well"), HOME_S, "the device's return")
            wait_served_by(server, device)
            clients.go_on()
        assert clients.faults == []
        assert failovers(server, device, "CPU", reason) == 1
        assert served(server, "CPU") > 0


def test_one_of_two_gpus_dies(models, tmp_path):
    faults = Faults(tmp_path / "faults")
    env = gpu_env(count=2, fault_file=faults.path)
    with serve(models, tmp_path, "MULTI:GPU.0,GPU.1", env) as server:
        with SteadyClients(server.grpc, computes=False) as clients:
            wait_served_by(server, "GPU.0")
            wait_served_by(server, "GPU.1")
            faults.set("out_of_resources@1")
            wait_until(lambda: not state_is(server, "GPU.1", "well"), 10, "the loss of GPU.1")
            clients.go_on()
            assert state_is(server, "GPU.0", "well")
            faults.clear()
            wait_served_by(server, "GPU.1")
        assert clients.faults == []


@pytest.mark.parametrize("kind,device,fault", [("GPU", "GPU.0", "out_of_resources"), ("NPU", "NPU", "execute")])
def test_what_shares_the_calls_goes_home_while_the_fallback_serves(models, tmp_path, kind, device, fault):
    faults, env = devices(tmp_path, kind)

    def placed(target):
        return server.http("GET", "/v1/models/dummy/placement").json()["by_device"][target]["state"]

    with serve(models, tmp_path, f"MULTI:{kind}", env, "--fallback_devices", "CPU") as server:
        wait_until(lambda: placed("CPU") == "standby", HOME_S, "the standby")
        with SteadyClients(server.grpc, computes=kind != "GPU") as clients:
            faults.set(fault)
            wait_until(lambda: failovers(server, device, "CPU", "error") == 1, 20, "the failover")
            faults.set("compile_hang")
            wait_until(lambda: placed(device) == "compiling", HOME_S, "the device's return")
            clients.go_on(limit_s=5)
            assert placed("CPU") == "serving" and server.http("GET", "/v2/health/ready").code == 200
            faults.clear()
            wait_served_by(server, device)
            clients.go_on()
        assert clients.faults == []


def test_gpu_in_a_list_is_every_gpu(models, tmp_path):
    faults = Faults(tmp_path / "faults")
    with serve(models, tmp_path, "AUTO:GPU,CPU", gpu_env(count=2, fault_file=faults.path)) as server:
        with SteadyClients(server.grpc, computes=False) as clients:
            wait_served_by(server, "GPU.0")
            wait_until(lambda: "dummy version 1 is ready on GPU.1" in server.log, HOME_S, "the standby")
            faults.set("out_of_resources@0")
            wait_until(lambda: failovers(server, "GPU.0", "GPU.1", "error") == 1, 20, "the failover")
            wait_served_by(server, "GPU.1")
            faults.clear()
            wait_served_by(server, "GPU.0")
        assert clients.faults == []


@pytest.mark.parametrize("kind,device,fault", [("GPU", "GPU.0", "out_of_memory"), ("NPU", "NPU", "compiler")])
def test_what_does_not_load_on_the_first_device_serves_on_the_next_and_goes_home(models, tmp_path, kind, device, fault):
    faults, env = devices(tmp_path, kind)
    faults.set(fault)
    with serve(models, tmp_path, f"AUTO:{kind},CPU", env) as server:
        with SteadyClients(server.grpc, computes=kind != "GPU") as clients:
            clients.go_on()
            wait_until(lambda: "does not load on " + device in server.log, HOME_S, "the failed load")
            clients.go_on()
            assert served(server, device) == 0
            faults.clear()
            wait_served_by(server, device)
            clients.go_on()
        assert clients.faults == []
        assert failovers(server, device, "CPU", "load") == 1


def test_the_only_device_dies_and_readiness_tells(models, tmp_path):
    faults, env = devices(tmp_path, "NPU")
    infer = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]}
    with serve(models, tmp_path, "NPU", env) as server:
        assert server.http("POST", "/v2/models/dummy/infer", infer).json()["outputs"][0]["data"] == [2] * 10
        faults.set("execute")
        refused = server.http("POST", "/v2/models/dummy/infer", infer)
        assert refused.code == 503 and "DEVICE_LOST" in refused.error
        wait_until(lambda: server.http("GET", "/v2/health/ready").code == 503, 5, "not ready")
        assert server.http("GET", "/v2/models/dummy/ready").code == 503
        assert server.http("GET", "/v2/health/live").code == 200
        status = server.http("GET", "/v1/models/dummy").json()["model_version_status"][0]
        assert status["state"] == "LOADING" and "DEVICE_LOST" in status["status"]["error_message"]
        again = server.http("POST", "/v2/models/dummy/infer", infer)
        assert again.code == 503 and "NPU" in again.error
        faults.clear()
        wait_until(lambda: server.http("GET", "/v2/health/ready").code == 200, HOME_S, "ready again")
        assert server.http("POST", "/v2/models/dummy/infer", infer).json()["outputs"][0]["data"] == [2] * 10


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_stop_while_a_device_hangs(models, tmp_path, kind):
    faults, env = devices(tmp_path, kind)
    server = serve(models, tmp_path, f"AUTO:{kind},CPU", env, "--device_timeout_ms", 300).wait_ready()
    try:
        with SteadyClients(server.grpc, computes=kind != "GPU") as clients:
            wait_served_by(server, "GPU.0" if kind == "GPU" else "NPU")
            faults.set("hang")
            clients.go_on()
        assert clients.faults == []
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10, "of --grace_seconds 30: no client waits"
    finally:
        faults.clear()
        server.kill()


def test_a_lone_call_of_a_batch_loses_no_device(models, tmp_path):
    infer = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]}
    with serve(models, tmp_path, "BATCH:NPU(4)", npu_env(), "--device_timeout_ms", 500) as server:
        for _ in range(3):
            assert server.http("POST", "/v2/models/dummy/infer", infer).code == 200
        assert state_is(server, "NPU", "well")
        assert server.http("GET", "/v2/health/ready").code == 200


def serve_config(tmp_path, env, *entries):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in entries]}))
    return Server(tmp_path, "--config_path", config, env=env)


def infer(server, model, name="b"):
    body = {"inputs": [{"name": name, "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]}
    return server.http("POST", f"/v2/models/{model}/infer", body)


def test_of_heteros_devices_the_one_that_hangs_is_left(models, tmp_path):
    faults = Faults(tmp_path / "faults")
    env = {**gpu_env(), **npu_env(fault_file=faults.path, unsupported_ops="Relu,ReLU")}
    both = {"target_device": "HETERO:NPU,GPU", "fallback_devices": ["CPU"], "device_timeout_ms": 500}
    first = {"name": "dummy", "base_path": str(models / "two_operations"), **both}
    other = {"name": "other", "base_path": str(models / "dummy"), "target_device": "GPU"}
    with serve_config(tmp_path, env, first, other) as server:
        assert infer(server, "dummy", "x").code == 200
        faults.set("hang")
        assert infer(server, "dummy", "x").json()["outputs"][0]["data"] == [2] * 10
        wait_until(lambda: not state_is(server, "NPU", "well") and not state_is(server, "NPU", "suspect"), 5, "the NPU's loss")
        assert state_is(server, "GPU.0", "well")
        assert server.http("GET", "/v2/models/other/ready").code == 200
        assert server.metric(r'^switchyard_failovers_total{model="other"') == 0
        faults.clear()
        before = failovers(server, "NPU", "CPU", "hang")
        wait_until(
            lambda: server.http("GET", "/v1/models/dummy/placement").json()["execution_devices"] == ["NPU", "GPU.0"],
            HOME_S,
            "the return",
        )
        assert before == 1 == failovers(server, "NPU", "CPU", "hang")


def test_a_models_tight_timeout_leaves_the_device_to_others(models, tmp_path):
    tight = {"name": "dummy", "target_device": "NPU", "fallback_devices": ["CPU"], "device_timeout_ms": 10}
    patient = {"name": "other", "target_device": "NPU"}
    entries = [{"base_path": str(models / "dummy"), **entry} for entry in (tight, patient)]
    with serve_config(tmp_path, npu_env(delay_ms=100), *entries) as server:
        for _ in range(10):
            for model in ("dummy", "other"):
                assert infer(server, model).json()["outputs"][0]["data"] == [2] * 10
            time.sleep(0.2)
        assert failovers(server, "NPU", "CPU", "hang") >= 1
        assert server.metric(r'^switchyard_failovers_total{model="other"') == 0
        wait_until(lambda: state_is(server, "NPU", "well"), 5, "the canary's verdict")


def test_an_idle_device_that_dies_is_noticed(models, tmp_path):
    faults, env = devices(tmp_path, "NPU")
    with serve(models, tmp_path, "NPU", env, "--fallback_devices", "CPU") as server:
        wait_until(lambda: state_is(server, "NPU", "well"), 10, "the NPU")
        faults.set("execute")
        wait_until(lambda: failovers(server, "NPU", "CPU", "error") == 1, 5 + SLACK_S, "the canary's verdict")
        assert server.http("GET", "/v2/models/dummy/ready").code == 200
