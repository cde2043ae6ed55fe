"""Flags, config.json, exit codes and the messages that go with them."""

import json
import os
import re
import shutil
import stat

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from conftest import write_config
from harness import Server, free_port, http_call, run_binary, wait_until


@pytest.fixture
def dummy(models):
    return ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]


def ends(*args, code, text, timeout_s=60):
    done = run_binary(*args, timeout_s=timeout_s)
    output = done.stdout + done.stderr
    assert done.returncode == code, f"exit code {done.returncode}\n{output}"
    assert re.search(text, output), output
    return output


def test_help_and_version():
    for args in (["--help"], ["-h"], []):
        done = run_binary(*args)
        assert done.returncode == 0 and "--model_path" in done.stdout and "--config_path" in done.stdout
    done = run_binary("--version")
    assert done.returncode == 0 and "OpenVINO" in done.stdout and re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.stdout)


ONE = ["--model_name", "m", "--model_path", "/nowhere"]

USAGE_ERRORS = {
    "unknown_flag": ([*ONE, "--port", "9000", "--no_such_flag", "1"], "no_such_flag"),
    "no_model": (["--port", "9000"], "config_path.*model_path|model_path.*config_path"),
    "name_without_path": (["--port", "9000", "--model_name", "m"], "model_path"),
    "path_without_name": (["--port", "9000", "--model_path", "/nowhere"], "model_name"),
    "both_sources": ([*ONE, "--config_path", "/nowhere.json", "--port", "9000"], "(?i)either|config_path"),
    "no_port": ([*ONE], "port"),
    "both_ports_zero": ([*ONE, "--port", "0", "--rest_port", "0"], "port"),
    "same_port": ([*ONE, "--port", "9000", "--rest_port", "9000"], "port"),
    "port_too_high": ([*ONE, "--port", "65536"], "65535|65536"),
    "port_no_number": ([*ONE, "--port", "nine"], "port"),
    "port_negative": ([*ONE, "--port", "-1"], "port"),
    "bind_address": ([*ONE, "--port", "9000", "--grpc_bind_address", "not an address"], "grpc_bind_address"),
    "rest_bind_address": ([*ONE, "--rest_port", "9000", "--rest_bind_address", "1.2.3.4.5 "], "rest_bind_address"),
    "grpc_workers_zero": ([*ONE, "--port", "9000", "--grpc_workers", "0"], "grpc_workers"),
    "grpc_workers_many": ([*ONE, "--port", "9000", "--grpc_workers", "100000"], "grpc_workers"),
    "rest_workers_many": ([*ONE, "--rest_port", "9000", "--rest_workers", "100000"], "rest_workers"),
    "rest_workers_without_rest": ([*ONE, "--port", "9000", "--rest_workers", "4"], "rest_workers|rest_port"),
    "log_level": ([*ONE, "--port", "9000", "--log_level", "LOUD"], "log_level|LOUD"),
    "cpu_extension": ([*ONE, "--port", "9000", "--cpu_extension", "/nowhere.so"], "/nowhere.so"),
    "poll_negative": ([*ONE, "--port", "9000", "--file_system_poll_wait_seconds", "-1"], "file_system_poll_wait_seconds"),
    "plugin_config_no_json": ([*ONE, "--port", "9000", "--plugin_config", "{NUM"], "plugin_config"),
    "nireq_no_number": ([*ONE, "--port", "9000", "--nireq", "two"], "nireq"),
    "readiness": ([*ONE, "--port", "9000", "--readiness", "some"], "readiness"),
    "batch_size_with_config": (
        ["--config_path", "/nowhere.json", "--port", "9000", "--batch_size", "2"],
        "(?i)config",
    ),
    "target_device_with_config": (
        ["--config_path", "/nowhere.json", "--port", "9000", "--target_device", "CPU"],
        "(?i)config",
    ),
    "metrics_without_rest": ([*ONE, "--port", "9000", "--metrics_enable"], "metrics_enable.*rest_port"),
    "metrics_list_alone": ([*ONE, "--rest_port", "9000", "--metrics_list", "ovms_streams"], "metrics_enable"),
    "metrics_list_unknown": (
        [*ONE, "--rest_port", "9000", "--metrics_enable", "--metrics_list", "ovms_streams,ovms_request_fail"],
        "ovms_request_fail.*ovms_requests_fail",
    ),
    "channel_arguments": ([*ONE, "--port", "9000", "--grpc_channel_arguments", "novalue"], "grpc_channel_arguments"),
    "known_but_not_built": ([*ONE, "--port", "9000", "--pull"], "pull"),
    "infer_without_url": (["infer", "--protocol", "kserve-grpc", "--model", "m"], "url"),
}


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_usage_errors_exit_with_64(name):
    args, text = USAGE_ERRORS[name]
    ends(*args, code=64, text=text)


START_FAILURES = {
    "no_such_path": (["--model_path", "/nowhere/at/all"], "/nowhere/at/all"),
    "unknown_device": (["--model_path", "{models}/dummy", "--target_device", "TOASTER"], "TOASTER"),
    "broken_model": (["--model_path", "{models}/broken"], "broken|model.xml"),
    "unknown_property": (
        ["--model_path", "{models}/dummy", "--target_device", "CPU", "--plugin_config", '{"NO_SUCH": 1}'],
        "NO_SUCH",
    ),
    "impossible_shape": (["--model_path", "{models}/onnx", "--target_device", "CPU", "--shape", "(1,11)"], "shape"),
    "shape_of_no_input": (
        ["--model_path", "{models}/dummy", "--target_device", "CPU", "--shape", '{"c": "(1,10)"}'],
        "shape.*c|c.*shape",
    ),
}


@pytest.mark.parametrize("name", START_FAILURES)
def test_a_fault_of_the_one_model_ends_the_start(models, name):
    args, text = START_FAILURES[name]
    args = [arg.replace("{models}", str(models)) for arg in args]
    ends("--model_name", "m", "--rest_port", "auto", "--rest_bind_address", "127.0.0.1", *args, code=1, text=text)


def test_a_port_that_is_taken_ends_the_start(dummy, tmp_path):
    with Server(tmp_path / "one", *dummy) as server:
        port = server.rest.rsplit(":", 1)[1]
        ends(*dummy, "--rest_port", port, "--rest_bind_address", "127.0.0.1", code=1, text=port)
        port = server.grpc.rsplit(":", 1)[1]
        ends(*dummy, "--port", port, "--grpc_bind_address", "127.0.0.1", code=1, text=port)


def test_ready_file_and_ports(dummy, tmp_path):
    with Server(tmp_path, *dummy) as server:
        document = json.loads(server.ready_file.read_text())
        assert document["pid"] == server.process.pid
        assert re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]*", document["grpc"])
        assert re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]*", document["rest"])
        assert server.http("GET", "/v2/health/ready").code == 200


def test_a_ready_file_is_there_only_while_a_server_serves(dummy, tmp_path):
    with Server(tmp_path, *dummy) as server:
        assert server.ready_file.exists()
    assert not server.ready_file.exists()
    ready = tmp_path / "stale.json"
    ports = ["--port", "auto", "--grpc_bind_address", "127.0.0.1"]
    for code, args in (
        (1, ["--model_name", "m", "--model_path", tmp_path / "none", *ports]),
        (1, ["--config_path", tmp_path / "none.json", *ports]),
        (64, [*dummy, *ports, "--nireq", "many"]),
    ):
        ready.write_text('{"grpc":"127.0.0.1:1","rest":null,"pid":1}')
        ends(*args, "--ready_file", ready, code=code, text="none|nireq")
        assert not ready.exists(), args


def test_a_ready_file_comes_when_the_server_becomes_ready_late(models, tmp_path):
    late = tmp_path / "late"
    config = tmp_path / "config.json"
    entry = {"name": "dummy", "base_path": str(late), "target_device": "CPU"}
    config.write_text(json.dumps({"model_config_list": [{"config": entry}]}))
    server = Server(tmp_path, "--config_path", config, "--file_system_poll_wait_seconds", "1")
    wait_until(lambda: "The server is not ready" in server.log, 20, "the start's end")
    assert not server.ready_file.exists()
    shutil.copytree(models / "dummy", late)
    with server:
        assert server.addresses["pid"] == server.process.pid
        assert server.http("GET", "/v2/health/ready").code == 200


def test_a_ready_file_that_cannot_be_written_ends_the_start(dummy, tmp_path):
    args = [*dummy, "--port", "auto", "--grpc_bind_address", "127.0.0.1", "--ready_file"]
    missing = tmp_path / "none" / "ready.json"
    ends(*args, missing, code=1, text=f'--ready_file: "{missing}" cannot be written .* name a file in a folder that exists')
    ends(*args, tmp_path, code=1, text=f'--ready_file: expected a file, or none yet, and "{tmp_path}" is something else')


@pytest.mark.parametrize("off,other", [("--port", "rest"), ("--rest_port", "grpc")])
def test_port_zero_is_off(dummy, tmp_path, off, other):
    with Server(tmp_path, *dummy, off, "0") as server:
        assert server.addresses["grpc" if other == "rest" else "rest"] in (None, "")
        if other == "rest":
            assert server.http("GET", "/v2/health/ready").code == 200
        else:
            with grpc.insecure_channel(server.grpc) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=10).ready


def test_fixed_ports(dummy, tmp_path):
    port, rest_port = free_port(), free_port()
    with Server(tmp_path, *dummy, "--port", str(port), "--rest_port", str(rest_port)) as server:
        assert server.addresses["grpc"].endswith(f":{port}") and server.addresses["rest"].endswith(f":{rest_port}")
        assert http_call(f"127.0.0.1:{rest_port}", "GET", "/v2/health/live").code == 200


def test_unix_sockets(dummy, tmp_path):
    grpc_path, rest_path = tmp_path / "grpc.sock", tmp_path / "rest.sock"
    args = ["--grpc_bind_address", f"unix:{grpc_path}", "--rest_bind_address", f"unix:{rest_path}"]
    with Server(tmp_path, *dummy, *args):
        assert stat.S_ISSOCK(os.stat(grpc_path).st_mode) and stat.S_ISSOCK(os.stat(rest_path).st_mode)
        with grpc.insecure_channel(f"unix:{grpc_path}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=10).live
        for protocol, path in (("kserve-rest", rest_path), ("tfs-rest", rest_path), ("kserve-grpc", grpc_path)):
            done = run_binary(
                "infer", "--url", f"unix:{path}", "--protocol", protocol, "--model", "dummy", "--input", "b=random"
            )
            assert done.returncode == 0, done.stderr
    # A socket that a killed server left behind does not keep the next one from starting.
    with Server(tmp_path, *dummy, *args):
        pass


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_socket_that_a_server_listens_on_stays_its_own(dummy, tmp_path, protocol):
    path, other = tmp_path / "the.sock", "rest" if protocol == "grpc" else "grpc"
    args = [f"--{protocol}_bind_address", f"unix:{path}", f"--{other}_bind_address", "127.0.0.1"]
    args += ["--rest_port" if other == "rest" else "--port", "auto"]
    with Server(tmp_path / "one", *dummy, *args):
        ends(*dummy, *args, code=1, text=f"unix:{path}: another server listens there; choose another path")
        done = run_binary(
            "infer", "--url", f"unix:{path}", "--protocol", f"kserve-{protocol}", "--model", "dummy", "--input", "b=random"
        )
        assert done.returncode == 0, done.stderr
    assert not path.exists()
    path.write_text("a file")
    ends(*dummy, *args, code=1, text=f"unix:{path}: a file that is no socket is there")
    assert path.read_text() == "a file"


def test_start_report(dummy, tmp_path):
    with Server(tmp_path, *dummy) as server:
        log = server.log
        assert server.grpc in log and server.rest in log
        assert re.search(r"dummy.*CPU", log), log
        for protocol in ("kserve-grpc", "kserve-rest", "tfs-grpc", "tfs-rest"):
            assert protocol in log


def test_log_path_and_level(dummy, tmp_path):
    log = tmp_path / "own.log"
    with Server(tmp_path / "server", *dummy, "--log_path", log, "--log_level", "DEBUG") as server:
        assert server.http("GET", "/v2/health/live").code == 200
    assert log.stat().st_size > 0 and "dummy" in log.read_text()
    ends(*dummy, "--rest_port", "auto", "--log_path", log / "below_a_file.log", code=1, text="below_a_file.log")


def test_cache_dir(models, tmp_path):
    cache = tmp_path / "cache"
    args = ["--model_name", "onnx", "--model_path", models / "onnx", "--target_device", "CPU", "--cache_dir", cache]
    with Server(tmp_path / "first", *args) as server:
        assert re.search("compiled", server.log), server.log
    assert any(file.suffix == ".blob" for file in cache.iterdir())
    with Server(tmp_path / "second", *args) as server:
        assert re.search("cache", server.log), server.log
        assert "compiled" not in server.log


# --- settings of the one model ---


def metadata(server, model="m"):
    document = server.http("GET", f"/v2/models/{model}").json()
    return {item["name"]: item["shape"] for item in document["inputs"]}


@pytest.mark.parametrize(
    "flags,shape",
    [
        (["--shape", "(5,10)"], [5, 10]),
        (["--shape", '{"b": "(5,10)"}'], [5, 10]),
        (["--shape", "(-1,10)"], [-1, 10]),
        (["--shape", "(1:4,10)"], [-1, 10]),
        (["--batch_size", "3"], [3, 10]),
        (["--batch_size", "-1"], [-1, 10]),
    ],
)
def test_shape_and_batch_size(models, tmp_path, flags, shape):
    args = ["--model_name", "m", "--model_path", models / "dynamic_batch", "--target_device", "CPU", *flags]
    with Server(tmp_path, *args) as server:
        assert metadata(server) == {"b": shape}
        batch = 2 if shape[0] == -1 else shape[0]
        rows = [[0.0] * 10] * batch
        answer = server.http("POST", "/v1/models/m:predict", {"inputs": rows})
        assert answer.code == 200 and answer.json() == {"outputs": [[1.0] * 10] * batch}
        if "1:4" in str(flags):
            assert server.http("POST", "/v1/models/m:predict", {"inputs": [[0.0] * 10] * 5}).code == 400


def test_layout(models, tmp_path):
    """Clients send NHWC to a model that takes NCHW."""
    args = ["--model_name", "m", "--model_path", models / "increment_1x3x4x5", "--target_device", "CPU"]
    with Server(tmp_path, *args, "--layout", "NHWC:NCHW") as server:
        assert metadata(server) == {"input": [1, 4, 5, 3]}
        data = [[[[float(100 * h + 10 * w + c) for c in range(3)] for w in range(5)] for h in range(4)]]
        answer = server.http("POST", "/v1/models/m:predict", {"inputs": data})
        assert answer.code == 200, answer
        wanted = [[[[float(100 * h + 10 * w + c + 1) for w in range(5)] for h in range(4)] for c in range(3)]]
        assert answer.json()["outputs"] == wanted


@pytest.mark.parametrize(
    "config",
    ['{"NUM_STREAMS": 1}', '{"NUM_STREAMS": "2"}', '{"PERFORMANCE_HINT": "THROUGHPUT"}', '{"ENABLE_CPU_PINNING": false}',
     '{"INFERENCE_PRECISION_HINT": "f32"}', '{"ENABLE_CPU_PINNING": "NO"}'],
)  # fmt: skip
def test_plugin_config_values_of_every_kind(dummy, tmp_path, config):
    with Server(tmp_path, *dummy, "--plugin_config", config, "--nireq", "3") as server:
        answer = server.http("POST", "/v1/models/dummy:predict", {"inputs": [[0.0] * 10]})
        assert answer.code == 200, answer


@pytest.mark.parametrize("device", ["", "CPU", "AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU(2)", "MULTI:CPU"])
def test_devices(models, tmp_path, device):
    args = ["--model_name", "dummy", "--model_path", models / "dummy"]
    with Server(tmp_path, *args, *(["--target_device", device] if device else [])) as server:
        answer = server.http("POST", "/v1/models/dummy:predict", {"inputs": [[0.0] * 10]})
        assert answer.code == 200, answer


@pytest.mark.parametrize("model,file", [("dummy", "model.xml"), ("onnx", "model.onnx"), ("tflite", "model.tflite"),
                                        ("tensorflow", "model.pb"), ("paddle", "model.pdmodel")])  # fmt: skip
def test_one_file_is_version_1(models, tmp_path, model, file):
    args = ["--model_name", "m", "--model_path", models / model / "1" / file, "--target_device", "CPU"]
    with Server(tmp_path, *args) as server:
        assert server.http("GET", "/v2/models/m/versions/1/ready").code == 200
        assert server.http("GET", "/v2/models/m").json()["versions"] == ["1"]


# --- config.json ---


def config_file(tmp_path, text):
    file = tmp_path / "config.json"
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    return file


def one(**config):
    return {"model_config_list": [{"config": {"name": "m", "base_path": "/nowhere", **config}}]}


SCHEMA_FAULTS = {
    "no_json": ("{", "(?i)json"),
    "empty": ("", "(?i)json"),
    "array": ([], "expected|object"),
    "no_list": ({}, "model_config_list"),
    "list_no_array": ({"model_config_list": {}}, "/model_config_list"),
    "unknown_top_key": ({"model_config_list": [], "more": 1}, "more"),
    "entry_without_config": ({"model_config_list": [{}]}, "/model_config_list/0"),
    "no_name": ({"model_config_list": [{"config": {"base_path": "/x"}}]}, "/model_config_list/0/config.*name"),
    "name_no_string": (one(name=3), "/model_config_list/0/config/name"),
    "unknown_key": (one(colour="red"), "colour"),
    "nireq_a_string": (one(nireq="two"), "/model_config_list/0/config/nireq"),
    "nireq_negative": (one(nireq=-1), "/model_config_list/0/config/nireq"),
    "batch_size_a_list": (one(batch_size=[1]), "/model_config_list/0/config/batch_size"),
    "policy_two_kinds": (one(model_version_policy={"all": {}, "latest": {"num_versions": 1}}), "model_version_policy"),
    "policy_zero": (one(model_version_policy={"latest": {"num_versions": 0}}), "model_version_policy"),
    "plugin_config_a_string": (one(plugin_config="x"), "/model_config_list/0/config/plugin_config"),
    "pipelines_not_built": (
        {"model_config_list": [], "pipeline_config_list": [{"name": "p", "inputs": [], "nodes": [], "outputs": []}]},
        "pipeline_config_list",
    ),
}


@pytest.mark.parametrize("name", SCHEMA_FAULTS)
def test_a_fault_of_the_schema_ends_the_start(tmp_path, name):
    text, pattern = SCHEMA_FAULTS[name]
    file = config_file(tmp_path, text)
    ends("--config_path", file, "--rest_port", "auto", "--rest_bind_address", "127.0.0.1", code=1, text=pattern)


def test_a_config_file_that_is_not_there(tmp_path):
    ends("--config_path", tmp_path / "none.json", "--rest_port", "auto", code=1, text="none.json")


def test_config_as_the_manual_writes_it(models, tmp_path):
    """Strings for numbers, other lists empty, monitoring, a path relative to the file."""
    (tmp_path / "dummy").symlink_to(models / "dummy")
    document = {
        "model_config_list": [
            {
                "config": {
                    "name": "resnet",
                    "base_path": "dummy",
                    "batch_size": "1",
                    "plugin_config": {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": True},
                    "nireq": 2,
                    "target_device": "CPU",
                    "model_version_policy": {"latest": {"num_versions": 1}},
                }
            }
        ],
        "pipeline_config_list": [],
        "custom_loader_config_list": [],
        "custom_node_library_config_list": [],
        "mediapipe_config_list": [],
        "monitoring": {"metrics": {"enable": False}},
    }
    with Server(tmp_path / "server", "--config_path", config_file(tmp_path, document)) as server:
        assert server.http("POST", "/v1/models/resnet:predict", {"inputs": [[0.0] * 10]}).code == 200


def test_bad_models_leave_the_others_serving(models, tmp_path):
    entries = [
        {"name": "good", "base_path": str(models / "dummy"), "target_device": "CPU"},
        {"name": "missing", "base_path": str(tmp_path / "nothing_here")},
        {"name": "broken", "base_path": str(models / "broken")},
        {"name": "device", "base_path": str(models / "dummy"), "target_device": "TOASTER"},
        {"name": "property", "base_path": str(models / "dummy"), "target_device": "CPU", "plugin_config": {"NO_SUCH": 1}},
    ]
    reasons = {"missing": "nothing_here", "broken": "", "device": "TOASTER", "property": "NO_SUCH"}
    with Server(tmp_path / "server", "--config_path", write_config(tmp_path / "config.json", entries)) as server:
        assert server.http("GET", "/v2/health/ready").code == 200
        assert server.http("POST", "/v1/models/good:predict", {"inputs": [[0.0] * 10]}).code == 200
        for name, reason in reasons.items():
            status = server.http("GET", f"/v1/models/{name}").json()["model_version_status"][0]
            assert status["state"] != "AVAILABLE" and status["status"]["error_code"] != "OK", name
            assert reason in status["status"]["error_message"], name
            answer = server.http("POST", f"/v1/models/{name}:predict", {"inputs": [[0.0] * 10]})
            assert answer.code == 503 and reason in answer.error, name
            assert server.http("GET", f"/v2/models/{name}/ready").code == 503


def test_readiness_all(models, tmp_path):
    entries = [
        {"name": "good", "base_path": str(models / "dummy"), "target_device": "CPU"},
        {"name": "broken", "base_path": str(models / "broken")},
    ]
    config = write_config(tmp_path / "config.json", entries)
    port = free_port()
    server = Server(tmp_path / "server", "--config_path", config, "--readiness", "all", "--rest_port", str(port))
    try:

        def good_serves():
            try:
                return http_call(f"127.0.0.1:{port}", "GET", "/v2/models/good/ready").code == 200
            except OSError:
                return False

        wait_until(good_serves, 60, "the good model")
        assert http_call(f"127.0.0.1:{port}", "GET", "/v2/health/live").code == 200
        answer = http_call(f"127.0.0.1:{port}", "GET", "/v2/health/ready")
        assert answer.code == 503
        assert not server.ready_file.exists()
        assert server.stop() == 0
    finally:
        server.kill()


def test_version_policy(models, tmp_path):
    for version in (1, 2, 5):
        (tmp_path / "versions").mkdir(exist_ok=True)
        (tmp_path / "versions" / str(version)).symlink_to(models / "dummy" / "1")
    base = str(tmp_path / "versions")
    entries = [
        {"name": "latest", "base_path": base, "target_device": "CPU"},
        {"name": "two", "base_path": base, "target_device": "CPU", "model_version_policy": {"latest": {"num_versions": 2}}},
        {"name": "every", "base_path": base, "target_device": "CPU", "model_version_policy": {"all": {}}},
        {"name": "some", "base_path": base, "target_device": "CPU", "model_version_policy": {"specific": {"versions": [1, 7]}}},
    ]  # fmt: skip
    with Server(tmp_path / "server", "--config_path", write_config(tmp_path / "config.json", entries)) as server:
        for name, versions in {"latest": [5], "two": [2, 5], "every": [1, 2, 5], "some": [1]}.items():
            assert server.http("GET", f"/v2/models/{name}").json()["versions"] == [str(v) for v in versions]
            body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}]}
            answer = server.http("POST", f"/v2/models/{name}/infer", body)
            assert answer.json()["model_version"] == str(versions[-1])
            for version in (1, 2, 5):
                code = server.http("POST", f"/v2/models/{name}/versions/{version}/infer", body).code
                assert code == (200 if version in versions else 404)
