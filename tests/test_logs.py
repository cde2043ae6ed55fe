"""Logs: their format, their level at run time, and the access log."""

import datetime
import json
import re
import signal

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from clients import FRONT_ENDS, KserveGrpc, KserveRest, tensor
from conftest import serve_dummy, write_config
from harness import Server, run_binary, wait_until

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
TIMES = ("decode_us", "queue_us", "compute_us", "encode_us", "total_us")
DEFAULTS = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_lines(path, count):
    return wait_until(lambda: (found := lines(path)) and len(found) >= count and found, 10, f"{count} lines in {path}")


def body(**more):
    return {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1.0] * 10}], **more}


# --- the access log


@pytest.fixture(scope="module")
def logged(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    with serve_dummy(folder, models, "--access_log", folder / "access.log") as server:
        server.access = folder / "access.log"
        yield server


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda each: each.name)
def test_a_line_for_each_inference(logged, front_end):
    before = len(lines(logged.access))
    client = front_end(logged)
    assert client.infer("dummy", [tensor("b", "FP32", TEN)]).ok
    assert not client.infer("dummy", [tensor("wrong", "FP32", TEN)]).ok
    assert not client.infer("nobody", [tensor("b", "FP32", TEN)]).ok
    client.close()
    good, faulty, unknown = wait_lines(logged.access, before + 3)[before:]
    protocol, interface = front_end.name.split("-")[:2]
    api = {"kserve": "KServe", "tfs": "TensorFlowServing"}[protocol]
    for line in (good, faulty, unknown):
        assert (line["api"], line["interface"].lower()) == (api, interface)
        assert line["total_us"] > 0 and line["bytes_in"] > 40
    assert (good["model"], good["version"], good["device"], good["status"]) == ("dummy", "1", "CPU", "OK")
    assert (good["batch"], good["bytes_out"] > 40) == (1, True)
    assert all(good[name] >= 0 for name in TIMES)
    assert sum(good[name] for name in TIMES[:-1]) == pytest.approx(good["total_us"], abs=0.01)
    assert (faulty["model"], faulty["device"], faulty["status"]) == ("dummy", None, "INVALID_ARGUMENT")
    assert (faulty["queue_us"], faulty["compute_us"], faulty["encode_us"]) == (None, None, None)
    assert (unknown["model"], unknown["version"], unknown["status"]) == ("nobody", None, "NOT_FOUND")
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(good["time"].replace("Z", "+00:00"))
    assert 0 <= age.total_seconds() < 60


def test_a_model_has_its_own_name_where_an_alias_is_called(models, tmp_path):
    entry = {"name": "dummy", "base_path": str(models / "dummy"), "aliases": ["front"]}
    config = write_config(tmp_path / "config.json", [entry])
    with Server(tmp_path, "--config_path", config, "--access_log", tmp_path / "access.log") as server:
        client = KserveRest(server)
        assert client.infer("front", [tensor("b", "FP32", TEN)]).ok
        assert not client.infer("front", [tensor("wrong", "FP32", TEN)]).ok
        assert not client.infer("front", [tensor("b", "FP32", TEN)], version="7").ok
        assert not client.infer("front", [tensor("b", "FP32", TEN)], version="no_label").ok
        client.close()
        assert [line["model"] for line in wait_lines(tmp_path / "access.log", 4)] == ["dummy"] * 4


def test_the_request_id_is_the_protocols_or_the_headers(logged):
    before = len(lines(logged.access))
    for document, headers in (
        (body(id="mine"), {"X-Request-Id": "other"}),
        (body(), {"X-Request-Id": "from a header"}),
        (body(id='quo"te\n'), {}),
        (body(id="\x1b[2J\x7f\x9b2J\x85\u2028\u2029"), {}),  # all that splitlines or a terminal makes something of
        (body(), {"X-Request-Id": "x" * 1000}),
        (body(), {}),
    ):
        assert logged.http("POST", "/v2/models/dummy/infer", document, headers).code == 200
    ids = [line["request_id"] for line in wait_lines(logged.access, before + 6)[before:]]
    assert ids == ["mine", "from a header", 'quo"te\n', "\x1b[2J\x7f\x9b2J\x85\u2028\u2029", "x" * 128, None]
    client = KserveGrpc(logged)
    client.stub.ModelInfer(client.request("dummy", [tensor("b", "FP32", TEN)]), metadata=(("x-request-id", "over gRPC"),))
    client.close()
    assert wait_lines(logged.access, before + 7)[-1]["request_id"] == "over gRPC"


def test_a_stream_has_a_line_for_each_message(logged):
    before = len(lines(logged.access))
    client = KserveGrpc(logged)
    list(client.stub.ModelStreamInfer(iter([client.request("dummy", [tensor("b", "FP32", TEN)]) for _ in range(3)])))
    client.close()
    assert [line["method"] for line in wait_lines(logged.access, before + 3)[before:]] == ["ModelInferStream"] * 3


def test_what_is_no_inference_has_no_line(logged):
    before = len(lines(logged.access))
    for path in ("/v2", "/v2/models/dummy", "/metrics", "/v1/models/dummy"):
        assert logged.http("GET", path).code == 200
    assert logged.http("POST", "/v2/models/dummy/infer", body()).code == 200
    assert len(wait_lines(logged.access, before + 1)) == before + 1
    assert logged.metric(r"^switchyard_access_log_lines_total\{result=\"written\"") == before + 1


def test_the_last_lines_are_there_after_the_stop(models, tmp_path):
    with serve_dummy(tmp_path, models, "--access_log", tmp_path / "access.log") as server:
        client = KserveRest(server)
        for _ in range(50):
            assert client.infer("dummy", [tensor("b", "FP32", TEN)]).ok
        client.close()
    assert len(lines(tmp_path / "access.log")) == 50


def test_a_disk_that_is_full_stops_no_request(models, tmp_path):
    with serve_dummy(tmp_path, models, "--access_log", "/dev/full") as server:
        for _ in range(5):
            assert server.http("POST", "/v2/models/dummy/infer", body()).code == 200
        dropped = r"^switchyard_access_log_lines_total\{result=\"dropped\""
        wait_until(lambda: server.metric(dropped) == 5, 10, "5 dropped lines")
        assert "access_log" in server.log


def test_a_file_that_cannot_be_written_ends_the_start(models, tmp_path):
    failed = serve_dummy(tmp_path, models, "--access_log", tmp_path / "none" / "x")
    assert failed.wait_exit() == 1
    assert "access_log" in failed.log and "none/x" in failed.log


# --- the log itself


def test_json_lines(models, tmp_path):
    args = ["--log_format", "json", "--access_log", "-", "--log_path", tmp_path / "file.log"]
    with serve_dummy(tmp_path, models, *args) as server:
        assert server.http("POST", "/v2/models/dummy/infer", body()).code == 200
    documents = [json.loads(line) for line in server.log.splitlines()]
    events = [each for each in documents if "level" in each]
    assert {"time", "level", "message"} == set(events[0])
    assert any("is available" in each["message"] for each in events)
    assert [each["model"] for each in documents if "level" not in each] == ["dummy"]
    assert all("level" in json.loads(line) for line in (tmp_path / "file.log").read_text().splitlines())


@pytest.mark.parametrize(
    "args, text",
    [
        (["--log_format", "xml"], "text or json"),
        (["--access_log", ""], "access_log"),
    ],
)
def test_faulty_flags(models, args, text):
    ended = run_binary("--model_name", "dummy", "--model_path", models / "dummy", "--port", "auto", *args)
    assert ended.returncode == 64
    assert text in ended.stderr


def test_the_logging_extension_over_rest(models, tmp_path):
    with serve_dummy(tmp_path, models) as server:
        assert "logging" in server.http("GET", "/v2").json()["extensions"]
        assert server.http("GET", "/v2/logging").json() == DEFAULTS
        answer = server.http("POST", "/v2/logging", {"log_verbose_level": 1, "log_format": "ISO8601"})
        assert answer.json() == {**DEFAULTS, "log_verbose_level": 1, "log_format": "ISO8601"}
        assert server.http("GET", "/v2/logging").json() == answer.json()
        for faulty in ("", "[1]", '{"log_level": "x"}', '{"log_info": "no"}', '{"log_file": "/tmp/x"}'):
            refused = server.http("POST", "/v2/logging", faulty)
            assert refused.code == 400 and refused.error
        assert server.http("GET", "/v2/logging").json() == answer.json()
        refused = server.http("DELETE", "/v2/logging")
        assert (refused.code, refused.headers["allow"]) == (405, "GET, HEAD, POST, OPTIONS")
        assert server.http("POST", "/v2/logging", "x" * 100000).code == 400
    # Stopping was logged in the new format.
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[info\] Stopped$", server.log, re.M)


def test_the_logging_extension_by_tritonclient(models, tmp_path):
    with serve_dummy(tmp_path, models) as server:
        over_rest = tritonclient.http.InferenceServerClient(server.rest)
        over_grpc = tritonclient.grpc.InferenceServerClient(server.grpc)
        assert over_rest.get_log_settings() == DEFAULTS
        assert over_rest.update_log_settings({"log_info": False})["log_info"] is False
        settings = over_grpc.get_log_settings(as_json=True)["settings"]
        assert settings["log_info"] == {"bool_param": False} and settings["log_format"] == {"string_param": "default"}
        changed = over_grpc.update_log_settings({"log_info": True, "log_verbose_level": 2}, as_json=True)["settings"]
        assert changed["log_verbose_level"] == {"uint32_param": 2}
        assert over_rest.get_log_settings()["log_verbose_level"] == 2
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="log_infos"):
            over_grpc.update_log_settings({"log_infos": True})
        over_rest.close()
        over_grpc.close()


def test_sighup_opens_files_again_and_reads_the_level(models, tmp_path):
    entry = {"name": "dummy", "base_path": str(models / "dummy"), "target_device": "CPU"}
    config = write_config(tmp_path / "config.json", [entry])
    document = json.loads((tmp_path / "config.json").read_text())
    log, access = tmp_path / "file.log", tmp_path / "access.log"
    with Server(tmp_path, "--config_path", config, "--log_path", log, "--access_log", access) as server:
        assert server.http("POST", "/v2/models/dummy/infer", body()).code == 200
        wait_lines(access, 1)
        log.rename(tmp_path / "file.old")
        access.rename(tmp_path / "access.old")

        def level(text):
            (tmp_path / "config.json").write_text(text)
            server.process.send_signal(signal.SIGHUP)

        level(json.dumps({**document, "logging": {"level": "DEBUG"}}))
        wait_until(lambda: server.http("GET", "/v2/logging").json()["log_verbose_level"] == 1, 10, "the level DEBUG")
        wait_until(access.exists, 10, "the new access log")
        assert server.http("POST", "/v2/models/dummy/infer", body()).code == 200
        wait_lines(access, 1)
        assert "SIGHUP" in log.read_text() and len(lines(tmp_path / "access.old")) == 1
        level("{ broken")
        wait_until(lambda: "the log level stays" in log.read_text(), 10, "the warning")
        assert server.http("GET", "/v2/logging").json()["log_verbose_level"] == 1
        level(json.dumps(document))
        wait_until(lambda: server.http("GET", "/v2/logging").json()["log_verbose_level"] == 0, 10, "the default level")
        assert server.http("POST", "/v2/models/dummy/infer", body()).code == 200


def test_sighup_keeps_the_old_file_when_the_new_one_cannot_be_opened(models, tmp_path):
    log = tmp_path / "file.log"
    with serve_dummy(tmp_path, models, "--log_path", log) as server:
        old = log.rename(tmp_path / "file.old")
        log.mkdir()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old file goes on" in old.read_text(), 10, "the warning")
        assert str(log) in old.read_text() and "opened again" not in old.read_text()


def test_the_level_is_said_in_one_place(models, tmp_path):
    entry = {"name": "dummy", "base_path": str(models / "dummy"), "target_device": "CPU"}
    config = write_config(tmp_path / "config.json", [entry])
    document = json.loads((tmp_path / "config.json").read_text())
    for level, args, text in (("DEBUG", ["--log_level", "INFO"], "one place"), ("LOUD", [], "/logging/level")):
        (tmp_path / "config.json").write_text(json.dumps({**document, "logging": {"level": level}}))
        failed = Server(tmp_path, "--config_path", config, *args)
        assert failed.wait_exit() == 1
        assert text in failed.log
