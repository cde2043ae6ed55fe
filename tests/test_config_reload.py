"""config.json changes while the server serves: by POST /v1/config/reload, and because the file is watched."""

import json
import shutil
import threading

import pytest

from conftest import write_config
from harness import Server, http_call, wait_until
from openapi import Api
from testing.models.ir import plus_one
from testing.steady_clients import SteadyClients


def add_model(folder, name, versions=(1,)):
    """Version v of it adds v."""
    for version in versions:
        target = folder / name / str(version)
        target.mkdir(parents=True)
        plus_one(target, addend=version)
    return folder / name


def entry(name, **more):
    return {"name": name, "target_device": "CPU", **more}


def answer_of(server, model, path=""):
    """What the model makes of zeros: the number of its version; None when it does not serve."""
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}]}
    answer = server.http("POST", f"/v2/models/{model}{path}/infer", body)
    return int(answer.json()["outputs"][0]["data"][0]) if answer.code == 200 else None


def pointers(answer):
    return sorted(fault["pointer"] for fault in answer.json()["faults"])


@pytest.fixture
def two(tmp_path):
    """A folder with models `a` and `b`, and a config.json that serves them."""
    for name in "ab":
        add_model(tmp_path, name)
    write_config(tmp_path / "config.json", [entry("a"), entry("b")])
    return tmp_path


def serve(folder, *flags):
    """Not watching: what changes is what a call changes."""
    flags = flags or ("--file_system_poll_wait_seconds", 0)
    return Server(folder / "server", "--config_path", folder / "config.json", *flags)


def test_a_start_tells_of_a_label_that_leads_nowhere(tmp_path):
    """A reload would refuse it."""
    add_model(tmp_path, "a", (1, 2))
    write_config(tmp_path / "config.json", [entry("a", labels={"stable": 2, "canary": 1, "next": 7})])
    with serve(tmp_path, "--file_system_poll_wait_seconds", 1) as server:
        told = [line for line in server.log.splitlines() if "the label" in line]
        assert ["canary" in line or "next" in line for line in told] == [True, True], told
        assert 'the label "next" leads to version 7, which is not there' in told[1]
        assert answer_of(server, "a", "/versions/stable") == 2 and answer_of(server, "a", "/versions/next") is None
        add_model(tmp_path, "a", (7,))
        wait_until(lambda: answer_of(server, "a", "/versions/next") == 7, 20, "version 7")
        wait_until(lambda: server.log.count("the label") == 3, 20, "stable's loss to be told, once")


def test_a_reload_warns_of_what_only_a_start_reads(two):
    config = two / "config.json"
    with serve(two) as server:
        whole = json.loads(config.read_text())
        for key, value in (("logging", {"level": "DEBUG"}), ("monitoring", {"metrics": {"enable": True}})):
            config.write_text(json.dumps({**whole, key: value}))
            assert server.http("POST", "/v1/config/reload").code == 200
            wait_until(lambda key=key: f"{config}: {key} " in server.log, 5, "the warning")
        config.write_text(json.dumps(whole))
        assert server.http("POST", "/v1/config/reload").code == 200
        assert server.log.count("is not as when this server started") == 2


def test_a_reload_takes_what_changed(two):
    add_model(two, "c")
    with serve(two) as server:
        answer = server.http("POST", "/v1/config/reload")
        assert answer.code == 200 and set(answer.json()) == {"a", "b"}, answer
        write_config(two / "config.json", [entry("a", nireq=3), entry("c")])
        answer = server.http("POST", "/v1/config/reload", {"ignored": True})
        assert answer.code == 201, answer
        status = answer.json()
        assert status["a"]["model_version_status"][0]["state"] == "AVAILABLE"
        assert status["c"]["model_version_status"][0]["state"] == "AVAILABLE"
        assert answer_of(server, "a") == answer_of(server, "c") == 1
        assert answer_of(server, "b") is None
        assert server.http("POST", "/v1/config/reload").code == 200
        assert server.http("GET", "/v1/config").json()["last_reload"]["code"] == 200


def test_every_fault_at_once_and_nothing_changes(two):
    with serve(two) as server:
        assert "last_reload" not in server.http("GET", "/v1/config").json()
        write_config(
            two / "config.json",
            [
                entry("a", nireq="two", shap="(1,10)"),
                entry("b", batch_size="many", layout="NHWC:QQ"),
                {"base_path": "c", "target_device": "CPU"},
                entry("d"),
                entry("a", base_path="a"),
                {"name": "e", "base_path": "b", "target_device": "NPU.7"},
                entry("f", base_path="a", plugin_config={"NUM_STREAM": 2, "NUM_STREAMS": 1, "PERFORMANCE_HIN": "LATENCY"}),
                entry("g", base_path="a", labels={"stable": 9}),
            ],
        )
        answer = server.http("POST", "/v1/config/reload")
        at = "/model_config_list/{}/config{}".format
        assert answer.code == 400, answer
        assert pointers(answer) == sorted(
            [
                at(0, "/nireq"),
                at(0, "/shap"),
                at(1, "/batch_size"),
                at(1, "/layout"),
                at(2, ""),
                at(3, "/base_path"),
                at(4, "/name"),
                at(5, "/target_device"),
                at(6, "/plugin_config/NUM_STREAM"),
                at(6, "/plugin_config/PERFORMANCE_HIN"),
                at(7, "/labels/stable"),
            ]
        ), answer
        Api().check("Refusal", answer.json())
        for fault in answer.json()["faults"]:
            assert fault["expected"] and fault["got"], fault
            assert fault["pointer"] in answer.json()["error"]
        assert answer_of(server, "a") == answer_of(server, "b") == 1
        config = server.http("GET", "/v1/config").json()
        assert config["last_reload"]["code"] == 400 and config["last_reload"]["faults"] == answer.json()["faults"]
        assert set(config) == {"a", "b", "last_reload"}
        Api().check("Config", config)


BROKEN = {
    "empty": "",
    "cut": '{"model_config_list": [{"config": {"name": "a"',
    "no_object": "[]",
    "null": "null",
    "no_list": "{}",
    "list_is_text": '{"model_config_list": "a"}',
    "element_is_number": '{"model_config_list": [7]}',
    "no_name": '{"model_config_list": [{"config": {}}]}',
    "empty_name": '{"model_config_list": [{"config": {"name": ""}}]}',
    "unknown_top_key": '{"model_config_list": [], "models": []}',
    "unknown_key": '{"model_config_list": [{"config": {"name": "dummy", "nirek": 1}}]}',
    "two_of_a_name": '{"model_config_list": [{"config": {"name": "dummy"}}, {"config": {"name": "dummy"}}]}',
    "no_folder": '{"model_config_list": [{"config": {"name": "dummy", "base_path": "nowhere"}}]}',
    "no_device": '{"model_config_list": [{"config": {"name": "dummy", "target_device": "TPU"}}]}',
    "bad_property": '{"model_config_list": [{"config": {"name": "dummy", "plugin_config": {"NUM_STREAMS": "lots"}}}]}',
    "bad_policy": '{"model_config_list": [{"config": {"name": "dummy", "model_version_policy": {"all": 1}}}]}',
    "bad_shape": '{"model_config_list": [{"config": {"name": "dummy", "shape": "(1,"}}]}',
    "label_is_number": '{"model_config_list": [{"config": {"name": "dummy", "labels": {"1": 1}}}]}',
    "alias_taken": '{"model_config_list": [{"config": {"name": "dummy", "aliases": ["x", "x"]}}]}',
    "nul": '{"model_config_list": []}\0',
}


def test_twenty_broken_files_under_load(tmp_path):
    """No failed call and no wrong answer, whatever is in the file; each is refused with what is wrong with it."""
    assert len(BROKEN) == 20
    add_model(tmp_path, "dummy")
    config = write_config(tmp_path / "config.json", [entry("dummy")])
    good = config.read_text()
    with serve(tmp_path, "--file_system_poll_wait_seconds", 1) as server, SteadyClients(server.grpc) as clients:
        for name, text in BROKEN.items():
            config.write_text(text)
            answer = server.http("POST", "/v1/config/reload")
            assert answer.code == 400 and answer.json()["faults"], (name, answer)
            clients.go_on()
        config.write_text(good)
        assert server.http("POST", "/v1/config/reload").code == 200
        clients.go_on()
    assert not clients.faults, clients.faults[:3]


def test_the_file_is_watched(two):
    with serve(two, "--file_system_poll_wait_seconds", 1) as server:
        write_config(two / "config.json", [entry("b")])
        wait_until(lambda: answer_of(server, "a") is None, what="a to go")
        assert answer_of(server, "b") == 1
        # A file that is moved into place, as editors and config maps do it.
        write_config(two / "new.json", [entry("a"), entry("b", nireq="x")])
        (two / "new.json").rename(two / "config.json")

        def report():
            last = server.http("GET", "/v1/config").json().get("last_reload", {})
            return last.get("code") == 400 and last

        refused = wait_until(report, what="the refusal")
        assert refused["by"] == "watch" and refused["faults"][0]["pointer"] == "/model_config_list/1/config/nireq"
        assert answer_of(server, "a") is None and answer_of(server, "b") == 1


@pytest.mark.parametrize("how", ["written", "moved", "config_map"])
def test_the_kernel_tells_of_changes(two, how):
    """Looks at the file are an hour apart."""

    def write(entries, turn):
        if how == "written":
            write_config(two / "config.json", entries)
        elif how == "moved":
            write_config(two / "new", entries).rename(two / "config.json")
        else:  # ..data leads to a folder of the time, config.json to ..data/config.json
            (two / f"..{turn}").mkdir()
            write_config(two / f"..{turn}" / "config.json", entries)
            (two / "..data_tmp").symlink_to(f"..{turn}")
            (two / "..data_tmp").rename(two / "..data")

    if how == "config_map":
        (two / "config.json").unlink()
        (two / "config.json").symlink_to("..data/config.json")
    bases = {name: str(two / name) for name in "ab"}
    write([entry(name, base_path=base) for name, base in bases.items()], 0)
    with serve(two, "--file_system_poll_wait_seconds", 3600) as server:
        for turn in range(1, 4):
            gone, stays = "ab"[turn % 2], "ab"[1 - turn % 2]
            write([entry(stays, base_path=bases[stays])], turn)
            wait_until(lambda m=gone: answer_of(server, m) is None, what=f"{gone} to go")
            wait_until(lambda m=stays: answer_of(server, m) == 1, what=f"{stays} to serve")


def test_a_file_that_vanishes_changes_nothing(two):
    with serve(two) as server:
        (two / "config.json").unlink()
        answer = server.http("POST", "/v1/config/reload")
        assert answer.code == 400 and answer.json()["faults"][0]["pointer"] == "", answer
        assert answer_of(server, "a") == 1


def test_what_was_missing_may_come_later(two):
    """A refused file is tried again by itself: it need not change once its model is there."""
    with serve(two, "--file_system_poll_wait_seconds", 1) as server:
        write_config(two / "config.json", [entry("a"), entry("c")])
        wait_until(lambda: server.http("GET", "/v1/config").json().get("last_reload", {}).get("code") == 400)
        add_model(two, "new_c")
        (two / "new_c").rename(two / "c")
        wait_until(lambda: answer_of(server, "c") == 1, 30, "c")


def test_a_label_moves_without_a_gap(two):
    """Also to a version that has to be loaded first, while the one before it goes."""
    add_model(two / "more", "a", [2])
    (two / "more" / "a" / "2").rename(two / "a" / "2")
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}]}
    faults, seen, stopping = [], set(), threading.Event()

    def call(server):
        while not stopping.is_set():
            answer = server.http("POST", "/v2/models/a/versions/stable/infer", body)
            if answer.code == 200:
                seen.add(answer.json()["outputs"][0]["data"][0])
            else:
                faults.append(answer)

    def models(version):
        return [entry("a", model_version_policy={"specific": {"versions": [version]}}, labels={"stable": version})]

    write_config(two / "config.json", models(1))
    with serve(two) as server:
        threads = [threading.Thread(target=call, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for change in range(10):
            write_config(two / "config.json", models(2 - change % 2))
            assert server.http("POST", "/v1/config/reload").code == 201
        stopping.set()
        for thread in threads:
            thread.join()
    assert faults == [] and seen == {1, 2}, (faults[:2], seen)


def test_a_new_version_is_found_by_a_call(two):
    with serve(two) as server:
        shutil.move(add_model(two / "elsewhere", "a", [2]) / "2", two / "a" / "2")
        assert server.http("POST", "/v1/config/reload").code == 201
        assert answer_of(server, "a") == 2


def test_one_model_of_the_command_line(two):
    with Server(two / "server", "--model_name", "m", "--model_path", two / "a", "--target_device", "CPU") as server:
        assert server.http("POST", "/v1/config/reload").code == 200
        assert set(server.http("GET", "/v1/config").json()) == {"m", "last_reload"}


def test_reloads_at_the_same_time(two):
    """Each is answered: done, or 409 because another one runs."""
    with serve(two) as server:
        codes = []

        def reload():
            for _ in range(10):
                codes.append(http_call(server.rest, "POST", "/v1/config/reload").code)

        threads = [threading.Thread(target=reload) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(codes) == 80 and set(codes) <= {200, 409} and 200 in codes, codes


def test_a_faulty_entry_at_the_start_leaves_the_others(two):
    """As ever at the start; a reload of the same file is refused."""
    write_config(two / "config.json", [entry("a"), entry("b", shape="(1,")])
    with serve(two) as server:
        assert answer_of(server, "a") == 1
        status = server.http("GET", "/v1/config").json()
        assert status["b"]["model_version_status"][0]["state"] == "END"
        assert server.http("POST", "/v1/config/reload").code == 400
        write_config(two / "config.json", [entry("a"), entry("b")])
        assert server.http("POST", "/v1/config/reload").code == 201
        assert answer_of(server, "b") == 1


def test_of_models_that_left_only_those_that_served_are_listed(two):
    (two / "b" / "1" / "model.xml").write_text("<broken")
    labels = {"labels": {"stable": 1}, "aliases": ["front"]}
    models = [entry("a"), entry("b"), entry("c", base_path="nowhere"), entry("d", base_path="a", **labels)]
    write_config(two / "config.json", models)
    with serve(two) as server:

        def codes():
            status = server.http("GET", "/v1/config").json()
            return [status[name]["model_version_status"][0]["status"]["error_code"] for name in "abcd"]

        # What failed is tried again meanwhile.
        wait_until(lambda: codes() == ["OK", "UNKNOWN", "UNKNOWN", "OK"], 10, "the failures to be told")
        write_config(two / "config.json", [entry("a")])
        assert server.http("POST", "/v1/config/reload").code == 201
        ended = {"version": "1", "state": "END", "status": {"error_code": "OK", "error_message": "OK"}}
        gone = {"model_version_status": [ended]}
        status = server.http("GET", "/v1/config").json()
        assert set(status) == {"a", "d", "last_reload"} and status["d"] == gone
        assert server.http("GET", "/v1/models/d").json() == gone
        assert [server.http("GET", f"/v1/models/{name}").code for name in "bc"] == [404, 404]
        index = server.http("POST", "/v2/repository/index").json()
        rows = [(row["name"], row["state"], row.get("reason", "")) for row in index]
        assert rows == [("a", "READY", ""), ("d", "UNAVAILABLE", "unloaded")]
        assert b'model="b"' not in server.http("GET", "/metrics").body


def test_methods_of_the_routes(two):
    with serve(two) as server:
        for method, path in (("GET", "/v1/config/reload"), ("POST", "/v1/config"), ("GET", "/v2/repository/index")):
            assert server.http(method, path).code == 405, path
        assert json.loads(server.http("GET", "/v1/config").body)
