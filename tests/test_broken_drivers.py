"""Drivers that crash or hang as soon as somebody asks what is there: a GPU's under the real GPU plugin, and the software NPU's.
The server asks in a process of its own, so that models on other devices never notice."""

import json

import pytest

from harness import Server, run_binary, sanitized
from testing.devices import Faults, gpu_env, npu_env

pytestmark = pytest.mark.skipif(sanitized(), reason="Intel's driver and the simulators do not run under a sanitizer's binary")

INFER = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]}


def devices(tmp_path, kind):
    faults = Faults(tmp_path / "faults")
    return faults, (gpu_env(fault_file=faults.path) if kind == "GPU" else npu_env(fault_file=faults.path))


def told(document):
    return {device["name"]: device for device in document["devices"]}


@pytest.mark.parametrize("fault,how", [("list_abort", "signal 6 (Aborted)"), ("list_segv", "signal 11 (Segmentation fault)")])
@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_driver_that_crashes_costs_its_device(models, tmp_path, kind, fault, how):
    faults, env = devices(tmp_path, kind)
    faults.set(fault)
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", f"AUTO:{kind},CPU"]
    with Server(tmp_path / "server", *args, env=env, cwd=tmp_path) as server:
        assert server.http("POST", "/v2/models/dummy/infer", INFER).json()["outputs"][0]["data"] == [2] * 10
        ledger = told(server.http("GET", "/v1/devices").json())
        assert ledger["CPU"]["state"] == "well"
        assert ledger[kind]["state"] == "absent" and how in ledger[kind]["reason"]
        assert "update the driver" in ledger[kind]["remedy"]
        assert f"{kind} is left out" in server.log
    done = run_binary("plan", "--model_path", models / "dummy", "--target_device", kind, env=env, cwd=tmp_path)
    assert done.returncode == 1 and how in done.stderr


# What would ask the broken driver for its keys: a list, none, HETERO, and a target beside fallback_devices.
KEYED = [
    ("GPU", {"target_device": "AUTO", "plugin_config": {"PERFORMANCE_HINT": "LATENCY"}}),
    ("GPU", {"target_device": "AUTO:GPU,CPU", "plugin_config": {"GPU_QUEUE_THROTTLE": "LOW", "NUM_STREAMS": 1}}),
    ("GPU", {"target_device": "HETERO:GPU,CPU", "plugin_config": {"NUM_STREAMS": 1}}),
    ("GPU", {"target_device": "GPU", "fallback_devices": ["CPU"], "plugin_config": {"PERFORMANCE_HINT": "LATENCY"}}),
    ("GPU", {"target_device": "CPU", "fallback_devices": ["GPU"], "plugin_config": {"NUM_STREAMS": 1}}),
    ("NPU", {"target_device": "AUTO:NPU,CPU", "plugin_config": {"DEVICE_PROPERTIES": {"NPU": {"NPU_TURBO": "YES"}}}}),
]


def keyed_models(models, kind):
    return [
        {"name": f"keyed{i}", "base_path": str(models / "dummy"), **settings}
        for i, (of, settings) in enumerate(KEYED)
        if of == kind
    ]


@pytest.mark.parametrize("fault", ["list_segv", "list_abort"])
@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_keys_are_not_judged_by_a_driver_that_crashes(models, tmp_path, kind, fault):
    faults, env = devices(tmp_path, kind)
    faults.set(fault)
    wanted = keyed_models(models, kind)
    config = tmp_path / "config.json"
    plain = {"name": "plain", "base_path": str(models / "dummy"), "target_device": "CPU"}
    config.write_text(json.dumps({"model_config_list": [{"config": plain}]}))
    args = ["--config_path", config, "--file_system_poll_wait_seconds", "0"]
    with Server(tmp_path / "server", *args, env=env, cwd=tmp_path) as server:
        config.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in [plain, *wanted]]}))
        assert server.http("POST", "/v1/config/reload", timeout_s=60).code == 201
        for entry in wanted:
            assert server.http("POST", f"/v2/models/{entry['name']}/infer", INFER).json()["outputs"][0]["data"] == [2] * 10
        if kind == "GPU":
            assert "GPU_QUEUE_THROTTLE is not judged, since GPU.0 is not there" in server.log
    done = run_binary("check", config, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    target, keys = wanted[0]["target_device"], json.dumps(wanted[0]["plugin_config"])
    done = run_binary(
        *("plan", "--model_path", models / "dummy", "--target_device", target, "--plugin_config", keys), env=env, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_keys_are_not_judged_by_a_driver_that_hangs(models, tmp_path):
    faults, env = devices(tmp_path, "GPU")
    faults.set("list_hang")
    config = tmp_path / "config.json"
    wanted = keyed_models(models, "GPU")
    config.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in wanted]}))
    with Server(tmp_path / "server", "--config_path", config, env=env, cwd=tmp_path).wait_ready(120) as server:
        for entry in wanted:
            assert server.http("POST", f"/v2/models/{entry['name']}/infer", INFER).code == 200


def test_a_driver_that_hangs_costs_its_device(tmp_path):
    faults, env = devices(tmp_path, "GPU")
    faults.set("list_hang")
    done = run_binary("devices", "--timeout_ms", "3000", env=env, cwd=tmp_path)
    assert done.returncode == 0
    assert "GPU is absent: its driver was asked what is there, in a process of its own: no answer within 3 s" in done.stdout
    assert "\nCPU " in done.stdout


def test_a_server_holds_no_driver_that_no_model_asked_for(models, tmp_path):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    with Server(tmp_path / "server", *args, env={**gpu_env(), **npu_env()}, cwd=tmp_path) as server:
        assert {"CPU", "GPU.0", "NPU"} <= set(told(server.http("GET", "/v1/devices").json()))
        loaded = (open(f"/proc/{server.process.pid}/maps")).read()
        assert "libopenvino_intel_cpu_plugin" in loaded
        for library in ("intel_gpu_plugin", "intel_npu_plugin", "libigdrcl", "libOpenCL", "libze_loader"):
            assert library not in loaded
