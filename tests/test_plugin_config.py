"""plugin_config, device plugins, the model cache and compiling in a child, as a user meets them."""

import json
import pathlib
import re

import openvino
import pytest

from conftest import write_config
from harness import Server, run_binary

CPU_PLUGIN = pathlib.Path(openvino.__file__).parent / "libs" / "libopenvino_intel_cpu_plugin.so"


@pytest.fixture
def dummy(models):
    return ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]


def refused(*args):
    """The message of a start that ends because its one model cannot be served."""
    done = run_binary("--port", "auto", "--grpc_bind_address", "127.0.0.1", *args)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def serves(server, name="dummy"):
    data = list(range(10))
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": data}]}
    answer = server.http("POST", f"/v2/models/{name}/infer", body)
    assert answer.code == 200, answer
    assert answer.json()["outputs"][0]["data"] == [value + 1 for value in data]


REFUSED = {
    "too_few_streams": ({"NUM_STREAMS": -7}, ["NUM_STREAMS", "from 1 to 256", "-7"]),
    "too_many_streams": ({"NUM_STREAMS": 100000}, ["NUM_STREAMS", "from 1 to 256", "100000"]),
    "read_only": ({"FULL_DEVICE_NAME": "x"}, ["FULL_DEVICE_NAME", "only be read"]),
    "misspelt": ({"NUM_STREEMS": 2}, ["NUM_STREEMS", "did you mean NUM_STREAMS?"]),
    "wrong_word": ({"PERFORMANCE_HINT": "FAST"}, ["PERFORMANCE_HINT", "LATENCY", "FAST"]),
    "only_the_device_knows": ({"KV_CACHE_PRECISION": "i8"}, ["KV_CACHE_PRECISION", "CPU does not take"]),
    "under_a_device": ({"DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": -7}}}, ["DEVICE_PROPERTIES/CPU", "NUM_STREAMS"]),
    "of_another_device": ({"DEVICE_PROPERTIES": {"FPGA": {"NUM_STREAMS": 1}}}, ["DEVICE_PROPERTIES/FPGA", "runs on CPU"]),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("target", ["CPU", "AUTO:CPU", "HETERO:CPU"])
def test_faulty_properties_are_named(case, target, models):
    config, parts = REFUSED[case]
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", target]
    message = refused(*args, "--plugin_config", json.dumps(config))
    for part in parts:
        assert part in message, message


def test_a_faulty_model_fails_and_the_others_serve(models, tmp_path):
    entry = {"base_path": str(models / "dummy"), "target_device": "CPU"}
    config = write_config(
        tmp_path / "config.json",
        [{"name": "bad", **entry, "plugin_config": {"NUM_STREAMS": -7}}, {"name": "dummy", **entry}],
    )
    with Server(tmp_path, "--config_path", config) as server:
        serves(server)
        status = server.http("GET", "/v1/models/bad").json()["model_version_status"][0]["status"]
        assert "NUM_STREAMS" in status["error_message"], status


def test_keys_of_an_absent_device_are_noted(models, tmp_path):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "AUTO:NPU,CPU"]
    with Server(tmp_path, *args, "--plugin_config", '{"NPU_TURBO": true}') as server:
        serves(server)
        assert "NPU_TURBO is not judged, since NPU is not there" in server.log


def test_streams_beside_a_hint(dummy, tmp_path):
    both = ["--plugin_config", '{"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY"}']
    with Server(tmp_path, *dummy, *both) as server:
        serves(server)
        assert re.search("NUM_STREAMS and PERFORMANCE_HINT.*NUM_STREAMS is used", server.log)
    message = refused(*dummy, *both, "--strict")
    assert "NUM_STREAMS" in message and "PERFORMANCE_HINT" in message


def test_a_second_device_from_a_plugin(models, tmp_path):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "VCPU"]
    with Server(tmp_path, *args, "--device_plugin", f"VCPU={CPU_PLUGIN}") as server:
        serves(server)


def test_device_plugins_that_are_none(dummy, tmp_path):
    text = tmp_path / "text.so"
    text.write_text("this is no library")
    # A library, but no device plugin.
    other = next(CPU_PLUGIN.parent.glob("libopenvino_onnx_frontend.so*"))
    for path, words in (("/nowhere/x.so", "not there"), (text, "cannot be loaded"), (other, "no device plugin")):
        message = refused(*dummy, "--device_plugin", f"VCPU={path}")
        assert f"VCPU={path}" in message and words in message, message


def cache_args(dummy, cache):
    return [*dummy, "--cache_dir", cache]


def test_a_changed_cache_gives_no_wrong_answers(dummy, tmp_path):
    cache = tmp_path / "cache"
    with Server(tmp_path, *cache_args(dummy, cache)) as server:
        serves(server)
    (blob,) = cache.glob("*.blob")
    good = blob.read_bytes()
    for bad in (good[: len(good) // 2], b"", bytes(byte ^ 0x40 for byte in good), good[:-700] + bytes(700)):
        blob.write_bytes(bad)
        with Server(tmp_path, *cache_args(dummy, cache)) as server:
            serves(server)
            assert "set aside" in server.log
        assert pathlib.Path(f"{blob}.bad").read_bytes() == bad


def test_another_models_cache_gives_no_wrong_answers(models, dummy, tmp_path):
    """What lies under this model's name was compiled from another one, whole and with its sum beside it."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    with Server(tmp_path, *cache_args(dummy, mine)) as server:
        serves(server)
    args = ["--model_name", "dummy", "--model_path", models / "onnx_dynamic", "--shape", "(1,10)", "--target_device", "CPU"]
    with Server(tmp_path, *cache_args(args, other)):
        pass
    (blob,), (foreign,) = mine.glob("*.blob"), other.glob("*.blob")
    assert blob.name != foreign.name
    blob.write_bytes(foreign.read_bytes())
    for left in mine.glob("*.sha256"):
        (sidecar,) = other.glob("*.sha256")
        left.write_bytes(sidecar.read_bytes())
    # Whatever else there is in the folder of somebody's is left alone.
    (mine / "123456.blob").write_bytes(b"OpenVINO's own")
    with Server(tmp_path, *cache_args(dummy, mine)) as server:
        serves(server)
        placement = server.http("GET", "/v1/models/dummy/placement").json()
        assert placement["cache"] == "miss", placement
    assert (mine / "123456.blob").read_bytes() == b"OpenVINO's own"


def test_cache_folders_that_cannot_be_used(dummy, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for folder in (file, file / "below", "/proc/nowhere"):
        with Server(tmp_path, *cache_args(dummy, folder)) as server:
            serves(server)
            assert "compiled without a cache" in server.log


def test_compiling_in_a_child(dummy, tmp_path):
    cache = tmp_path / "cache"
    with Server(tmp_path, *cache_args(dummy, cache), "--isolated_compile", "true", "--log_level", "DEBUG") as server:
        serves(server)
        assert "in a process of its own" in server.log
    assert list(cache.glob("*.blob"))
    with Server(tmp_path, *cache_args(dummy, cache), "--isolated_compile", "true", "--log_level", "DEBUG") as server:
        serves(server)
        assert "in a process of its own" not in server.log, "what is there is imported"


def test_compiling_in_a_child_needs_a_cache(dummy):
    message = refused(*dummy, "--isolated_compile", "true")
    assert "isolated_compile" in message and "--cache_dir" in message


def test_the_hidden_subcommands_answer_nonsense():
    for name in ("probe-properties", "compile-once", "list-devices"):
        done = run_binary(name)
        assert done.returncode == 0 and json.loads(done.stdout)["code"] != 0
