"""Compilers that end their process, or never return: of the real GPU plugin on Intel's recording driver, and of the real NPU
plugin on the software NPU. With isolated_compile that costs a child process, and the next device serves."""

import time

import pytest

from harness import Server, run_binary, sanitized, wait_until
from testing.devices import Faults, gpu_env, npu_env

pytestmark = pytest.mark.skipif(sanitized(), reason="Intel's driver and the simulators do not run under a sanitizer's binary")

INFER = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]}
FAULTS = [
    ("compile_abort", "signal 6 (Aborted)", "LLVM ERROR: broken on request"),
    ("compile_segv", "signal 11 (Segmentation fault)", ""),
    ("compile_hang", "no answer within 8 s", ""),
]


def devices(tmp_path, kind):
    faults = Faults(tmp_path / "faults")
    return faults, (gpu_env(fault_file=faults.path) if kind == "GPU" else npu_env(fault_file=faults.path))


def isolated(models, tmp_path, env, *args):
    return Server(
        tmp_path / "server",
        *("--model_name", "dummy", "--model_path", models / "dummy", "--cache_dir", tmp_path / "cache"),
        *("--isolated_compile", "true", *args),
        env=env,
        cwd=tmp_path,
    )


def target_of(server, name):
    by_device = server.http("GET", "/v1/models/dummy/placement").json()["by_device"]
    return by_device[name]


@pytest.mark.parametrize("fault,how,words", FAULTS, ids=[fault[0] for fault in FAULTS])
@pytest.mark.parametrize("kind,device", [("GPU", "GPU.0"), ("NPU", "NPU")], ids=["GPU", "NPU"])
@pytest.mark.parametrize("listed", ["AUTO", "fallback"])
def test_a_broken_compiler_costs_a_child_and_the_next_device_serves(
    models, tmp_path, kind, device, fault, how, words, listed
):
    faults, env = devices(tmp_path, kind)
    faults.set(fault)
    target = ["--target_device", f"AUTO:{kind},CPU"]
    if listed == "fallback":
        target = ["--target_device", device, "--fallback_devices", "CPU"]
    # Long enough for a busy machine to load what is well.
    limit_ms = 8000 if fault == "compile_hang" else 60000
    with isolated(models, tmp_path, env, *target, "--load_timeout_ms", limit_ms) as server:
        wait_until(lambda: target_of(server, device)["state"] == "failed", 60, "the failed load")
        reason = target_of(server, device)["reason"]
        assert "process of its own" in reason and how in reason and words in reason, reason
        assert how in server.log
        assert server.http("POST", "/v2/models/dummy/infer", INFER).json()["outputs"][0]["data"] == [2] * 10
        assert server.http("GET", "/v1/models/dummy/placement").json()["execution_devices"] == ["CPU"]
    left = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert [name for name in left if not name.endswith((".blob", ".sha256"))] == [], "nothing half made stays"
    assert len([name for name in left if name.endswith(".blob")]) == 1, "the CPU's"
    # Once the compiler is whole, so is the load; and then it only reads.
    faults.clear()
    with isolated(models, tmp_path, env, "--target_device", device) as server:
        assert target_of(server, device)["state"] == "serving"
    faults.set(fault)
    with isolated(models, tmp_path, env, "--target_device", device) as server:
        assert target_of(server, device)["cache"] == "hit"


@pytest.mark.parametrize("kind,device", [("GPU", "GPU.0"), ("NPU", "NPU")], ids=["GPU", "NPU"])
def test_with_no_next_device_the_model_fails_with_the_signal(models, tmp_path, kind, device):
    faults, env = devices(tmp_path, kind)
    faults.set("compile_abort")
    server = isolated(models, tmp_path, env, "--target_device", device)
    try:
        assert server.wait_exit() == 1
        assert "signal 6 (Aborted)" in server.log and device in server.log
    finally:
        server.kill()


@pytest.mark.parametrize("kind,device", [("GPU", "GPU.0"), ("NPU", "NPU")], ids=["GPU", "NPU"])
def test_a_compilation_that_never_ends_is_left_behind(models, tmp_path, kind, device):
    faults, env = devices(tmp_path, kind)
    faults.set("compile_hang")
    server = Server(
        tmp_path / "server",
        *("--model_name", "dummy", "--model_path", models / "dummy", "--load_timeout_ms", "2000", "--grace_seconds", "2"),
        *("--target_device", device, "--fallback_devices", "CPU"),
        env=env,
        cwd=tmp_path,
    )
    try:
        server.wait_ready()
        assert "loading on " + device + " did not end within 2000 ms" in target_of(server, device)["reason"]
        assert server.http("POST", "/v2/models/dummy/infer", INFER).json()["outputs"][0]["data"] == [2] * 10
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 3.5
    finally:
        faults.clear()
        server.kill()


def test_a_plan_tells_of_a_compilation_that_never_ends(models, tmp_path):
    faults, env = devices(tmp_path, "GPU")
    faults.set("compile_hang")
    target = ["--target_device", "AUTO:GPU,CPU", "--load_timeout_ms", "4000"]
    done = run_binary("plan", "--model_path", models / "dummy", *target, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "GPU.0 does not serve: loading on GPU.0 did not end within 4000 ms (load_timeout_ms)" in done.stdout
    assert " serving " in done.stdout
