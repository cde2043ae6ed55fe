"""What the server and `plan` say of where models run, on the CPU and a second device that is the CPU's plugin once more."""

import json
import os
import pathlib
import re
import subprocess
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import jsonschema
import numpy as np
import openvino
import pytest
from openapi import Api
from openvino import opset13 as ops

from conftest import write_config
from harness import Server, binary, run_binary, wait_until

CPU_PLUGIN = pathlib.Path(openvino.__file__).parent / "libs" / "libopenvino_intel_cpu_plugin.so"
VCPU = ["--device_plugin", f"VCPU={CPU_PLUGIN}"]
TARGETS = {
    "cpu": "CPU",
    "hetero": "HETERO:VCPU,CPU",
    "auto": "AUTO:VCPU,CPU",
    "multi": "MULTI:VCPU,CPU",
    "batch": "BATCH:CPU(4)",
}
API = Api()


@pytest.fixture(scope="module")
def placed(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("placed")
    entries = [{"name": name, "base_path": str(models / "dummy"), "target_device": target} for name, target in TARGETS.items()]
    entries[0]["labels"] = {"stable": 1}
    entries.append({"name": "broken", "base_path": str(folder / "nowhere"), "target_device": "CPU"})
    with Server(folder, "--config_path", write_config(folder / "config.json", entries), *VCPU) as server:
        yield server


def infer(server, name):
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": list(range(10))}]}
    answer = server.http("POST", f"/v2/models/{name}/infer", body)
    assert answer.code == 200, answer


def placement(server, name):
    answer = server.http("GET", f"/v1/models/{name}/placement")
    assert answer.code == 200, answer
    assert answer.headers["content-type"] == "application/json"
    API.check("Placement", answer.json())
    return answer.json()


def test_devices_are_told_with_state_and_models(placed):
    # The server is ready as soon as every model has one device that serves; a second one may still be compiling.
    wait_until(
        lambda: all(one["state"] != "compiling" for one in placement(placed, "multi")["by_device"].values()),
        limit_s=30,
        what="both devices of MULTI",
    )
    answer = placed.http("GET", "/v1/devices")
    assert answer.code == 200
    API.check("DevicesReport", answer.json())
    devices = {device["name"]: device for device in answer.json()["devices"]}
    assert devices["CPU"]["state"] == devices["VCPU"]["state"] == "well"
    assert set(devices["CPU"]["models"]) >= {"cpu", "batch", "multi"}
    assert "cpu" not in devices["VCPU"]["models"] and "multi" in devices["VCPU"]["models"]
    # HETERO's is on those of its devices that got layers.
    assert [name for name in ("CPU", "VCPU") if "hetero" in devices[name]["models"]] == sorted(
        placement(placed, "hetero")["execution_devices"]
    )
    assert 0 < devices["CPU"]["memory_used_bytes"] < devices["CPU"]["memory_total_bytes"]
    since = datetime.fromisoformat(devices["CPU"]["since"])
    assert timedelta(0) <= datetime.now(timezone.utc) - since < timedelta(minutes=5)
    for name, device in devices.items():
        if device["state"] == "absent":
            assert name in ("GPU", "NPU") and device["reason"] and device["remedy"], device


def test_one_device(placed):
    infer(placed, "cpu")
    told = placement(placed, "cpu")
    assert told["target_device"] == "CPU" and told["execution_devices"] == ["CPU"] and told["helping"] is False
    assert told["cache"] == "off" and told["compile_ms"] > 0 and told["batch_size"] == 1
    assert list(told["by_device"]) == ["CPU"]
    assert told["by_device"]["CPU"]["state"] == "serving"
    assert told["by_device"]["CPU"]["num_requests"] == told["num_requests"] >= 1
    served = told["by_device"]["CPU"]["requests_served"]
    infer(placed, "cpu")
    assert placement(placed, "cpu")["by_device"]["CPU"]["requests_served"] == served + 1


def test_auto_serves_on_the_first_and_has_the_next_stand_by(placed):
    told = placement(placed, "auto")
    assert told["target_device"] == "AUTO:VCPU,CPU"
    assert told["execution_devices"] in (["VCPU"], ["CPU"])
    assert set(told["by_device"]) == {"VCPU", "CPU"}
    assert told["helping"] == (told["execution_devices"] == ["CPU"])


def test_multi_sums_up_both(placed):
    told = placement(placed, "multi")
    assert told["execution_devices"] == ["VCPU", "CPU"]
    assert told["num_requests"] == sum(one["num_requests"] for one in told["by_device"].values())
    assert {one["state"] for one in told["by_device"].values()} == {"serving"}


def test_hetero_is_one_target(placed):
    told = placement(placed, "hetero")
    (one,) = told["by_device"].values()
    assert one["target"] == "HETERO:VCPU,CPU" and one["state"] == "serving"
    assert set(told["execution_devices"]) <= {"VCPU", "CPU"} and told["execution_devices"]


def test_batch_tells_its_size(placed):
    told = placement(placed, "batch")
    assert told["batch_size"] == 4
    assert told["num_requests"] % 4 == 0


def test_what_is_not_there_has_its_code(placed):
    for path, code in {
        "/v1/models/unknown/placement": 404,
        "/v1/models/cpu/versions/77/placement": 404,
        "/v1/models/broken/placement": 503,
        "/v1/models/cpu/placement/more": 404,
    }.items():
        answer = placed.http("GET", path)
        assert answer.code == code, (path, answer)
        API.check("Error", answer.json())
    assert placed.http("GET", "/v1/models/cpu/versions/1/placement").code == 200
    assert placed.http("POST", "/v1/devices", "{}").code == 405


def test_every_route_of_the_contract_is_served(placed):
    for method, path in API.routes():
        filled = path.replace("{model}", "cpu").replace("{version}", "1").replace("{label}", "stable")
        answer = placed.http(method, filled, "{}" if method == "POST" else None)
        # The bodies are empty objects: 400 is a route's own answer. There is no region: its 404 is another than that of a path.
        assert b"There is nothing at" not in answer.body, (method, path, answer)
        answers = [answer, placed.http(method, filled, "{}", {"Content-Encoding": "br"})] if method == "POST" else [answer]
        if "{" in path:
            answers.append(placed.http(method, path.replace("{", "%").replace("}", ""), "{}" if method == "POST" else None))
            assert answers[-1].code == 400, (method, path, answers[-1])
        for answer in answers:
            assert str(answer.code) in API.codes(method, path), (method, path, answer)


def test_a_model_called_as_a_member_of_the_status(models, tmp_path):
    entries = [{"name": "last_reload", "base_path": str(models / "dummy"), "target_device": "CPU", "aliases": ["x"]}]
    with Server(tmp_path, "--config_path", write_config(tmp_path / "config.json", entries)) as server:
        assert server.http("POST", "/v1/config/reload").code == 200
        status = server.http("GET", "/v1/config").json()
        assert status["last_reload"]["aliases"] == ["x"] and status["_last_reload"]["code"] == 200
        API.check("Config", status)
        with pytest.raises(jsonschema.ValidationError):
            API.check("Config", {"last_reload": {"model_version_status": [], "code": 7}})


@pytest.mark.parametrize("target", TARGETS.values())
def test_plan_prints_what_the_server_tells(placed, models, target):
    done = run_binary("plan", "--model_path", models / "dummy", "--target_device", target, *VCPU, "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    API.check("Placement", planned)
    name = next(name for name, one in TARGETS.items() if one == target)
    served = placement(placed, name)
    assert list(planned) == list(served)
    keys = ["target_device", "precision", "num_streams", "num_requests", "batch_size", "layers", "layers_by_type", "cache"]
    if target == "CPU":  # a cheap model has a request for each thread, unless the machine was busy when it was measured
        keys.remove("num_requests")
    if target.startswith("AUTO"):  # its second device may be helping at this moment
        keys = ["target_device"]
    assert {key: planned[key] for key in keys} == {key: served[key] for key in keys}
    assert set(planned["by_device"]) == set(served["by_device"])
    assert "plan: loading" in done.stderr


def test_plan_prints_a_table(models):
    done = run_binary("plan", "--model_path", models / "dummy", "--target_device", "MULTI:VCPU,CPU", *VCPU)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Asked for: MULTI:VCPU,CPU"
    header = lines[2].split()
    assert header[:3] == ["TARGET", "DEVICES", "STATE"] and header[-3:] == ["COMPILE", "CACHE", "MEMORY"]
    assert [line.split()[:3] for line in lines[3:5]] == [["VCPU", "VCPU", "serving"], ["CPU", "CPU", "serving"]]


def test_plan_uses_the_cache(models, tmp_path):
    args = ["plan", "--model_path", models / "dummy", "--target_device", "CPU", "--cache_dir", tmp_path, "--json"]
    told = [json.loads(run_binary(*args).stdout)["cache"] for _ in range(2)]
    assert told == ["miss", "hit"]


HOSTILE = "</title><script>alert('x')</script>"


def test_plan_draws_the_graph(tmp_path):
    """Two branches from one input, by operations whose names would be markup."""
    source = ops.parameter([1, 10], np.float32, name="b")
    left = ops.add(source, ops.constant(np.ones((1, 10), np.float32)), name=HOSTILE)
    right = ops.relu(source, name="right")
    folded = ops.multiply(ops.constant(np.float32(2)), ops.constant(np.float32(3)), name="folded")
    total = ops.multiply(ops.add(left, right, name="both"), folded, name="last")
    openvino.save_model(openvino.Model([ops.result(total, name="a")], [source]), tmp_path / "model.xml", compress_to_fp16=False)
    page_path = tmp_path / "out.html"
    done = run_binary(
        "plan", "--model_path", tmp_path / "model.xml", "--target_device", "HETERO:VCPU,CPU", *VCPU, "--html", page_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Asked for: HETERO:VCPU,CPU")
    page = page_path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|\bsrc=|\bhref=|@import|url\(", page)
    assert page.count("<script") == 1
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", page, re.DOTALL).group())
    boxes = {}
    for group in svg.findall("g"):
        assert len(group.findall("rect")) == 1
        name, operation, device = group.find("title").text.split("\n")
        boxes[name] = (operation, device, float(group.find("rect").get("y")))
    assert boxes.keys() == {"b", HOSTILE, "right", "both", "last", "a"}
    assert boxes[HOSTILE][:2] == ("Add (1,10)", "VCPU")
    assert boxes["b"][2] < boxes[HOSTILE][2] == boxes["right"][2] < boxes["both"][2] < boxes["last"][2] < boxes["a"][2]
    assert "VCPU: 6 layers" in page and "3 constant nodes" not in page and "4 constant nodes" in page


def test_plan_tells_that_it_cannot_write_the_page(models, tmp_path):
    args = ["plan", "--model_path", models / "dummy", "--target_device", "CPU"]
    done = run_binary(*args, "--html", tmp_path / "no" / "folder.html")
    assert done.returncode == 1 and done.stdout == ""
    assert "--html" in done.stderr and "folder.html" in done.stderr
    for flag in (["--html"], ["--html="]):
        assert run_binary(*args, *flag).returncode == 64


FAULTS = {
    "unknown_device": ["--target_device", "FPGA"],
    "absent_device": ["--target_device", "HETERO:GPU.7,NPU"],
    "faulty_list": ["--target_device", "HETERO:"],
    "faulty_batch": ["--target_device", "BATCH:CPU(0)"],
    "faulty_property": ["--target_device", "CPU", "--plugin_config", '{"NUM_STREEMS": 2}'],
    "strict": ["--target_device", "CPU", "--strict", "--plugin_config", '{"NUM_STREAMS": 2, "PERFORMANCE_HINT": "LATENCY"}'],
}


@pytest.mark.parametrize("case", FAULTS)
def test_plan_gives_the_servers_own_message(models, case):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", *FAULTS[case]]
    planned = run_binary("plan", *args)
    served = run_binary("--port", "auto", "--grpc_bind_address", "127.0.0.1", *args)
    assert planned.returncode == served.returncode == 1, planned.stderr + served.stderr
    assert planned.stdout == ""
    message = planned.stderr.strip().splitlines()[-1].removeprefix("switchyard plan: ")
    assert re.match("model dummy: .{20}", message), planned.stderr
    again = "; devices are looked for when the server starts: start it again when that one is there"
    told = served.stderr.strip().splitlines()[-1].removeprefix("switchyard: ")
    assert told == message + (again if case == "absent_device" else "")


def test_plan_json_is_alone_on_stdout_and_tells_of_old_names(models):
    args = ["plan", "--model_path", models / "dummy", "--target_device", "CPU", "--json"]
    args += ["--plugin_config", '{"CPU_THROUGHPUT_STREAMS": 1}']
    done = run_binary(*args)
    assert done.returncode == 0, done.stderr
    told = "plugin_config: CPU_THROUGHPUT_STREAMS is an old name; NUM_STREAMS is set in its place"
    assert told in json.loads(done.stdout)["reasons"]
    strict = run_binary(*args, "--strict")
    assert strict.returncode == 1 and strict.stdout == "" and f"--strict: {told}" in strict.stderr


@pytest.mark.parametrize(
    "config",
    [
        {"NUM_STREAMS": 1, "DEVICE_PROPERTIES": {"CPU": {"PERFORMANCE_HINT": "THROUGHPUT"}}},
        {"PERFORMANCE_HINT": "LATENCY", "DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": 1}}},
    ],
)
def test_streams_and_a_hint_of_two_levels_are_told(models, config):
    args = ["plan", "--model_path", models / "dummy", "--target_device", "AUTO:CPU", "--plugin_config", json.dumps(config)]
    done = run_binary(*args, "--json")
    assert done.returncode == 0, done.stderr
    assert any("NUM_STREAMS is used, PERFORMANCE_HINT is not" in reason for reason in json.loads(done.stdout)["reasons"])
    strict = run_binary(*args, "--strict")
    assert strict.returncode == 1 and "--strict: plugin_config has both" in strict.stderr


def test_plan_html_needs_a_file(models):
    for rest in (["--html"], ["--html", "--json"], ["--html="]):
        done = run_binary("plan", "--model_path", models / "dummy", *rest)
        assert done.returncode == 64 and "--html: expected the path of the file to write" in done.stderr, done


def test_hetero_answers_are_the_models_in_whatever_order_it_has_them(tmp_path):
    """HETERO takes a model's inputs and outputs in the order of the parts that it makes."""
    x, z = ops.parameter([1, 3], np.float32, name="x"), ops.parameter([1, 3], np.float32, name="z")
    exp, product = ops.exp(z), ops.multiply(x, ops.constant(np.float32(100)))
    for port, name in ((x, "x"), (z, "z"), (exp, "exp"), (product, "product")):
        port.output(0).set_names({name})
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    openvino.save_model(openvino.Model([product, exp], [x, z], "m"), folder / "model.xml", compress_to_fp16=False)
    body = {
        "inputs": [
            {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]},
            {"name": "z", "shape": [1, 3], "datatype": "FP32", "data": [0, 0, 1]},
        ]
    }
    flags = ["--model_name", "m", "--model_path", tmp_path / "m", "--cache_dir", tmp_path / "cache"]
    for cache in ("miss", "hit"):
        with Server(tmp_path, *flags, "--target_device", "HETERO:VCPU,CPU", *VCPU) as server:
            answer = server.http("POST", "/v2/models/m/infer", body)
            outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
            assert outputs["product"] == [100, 200, 300]
            assert np.allclose(outputs["exp"], np.exp([0, 0, 1]))
            assert placement(server, "m")["cache"] == cache


def test_plan_refuses_a_faulty_command_line(models):
    for args in (["--target_device", "CPU"], ["--model_path", models / "dummy", "--nonsense"], ["--config_path", "x.json"]):
        done = run_binary("plan", *args)
        assert done.returncode == 64 and done.stderr.startswith("switchyard plan: "), done
    for command in ("plan", "tune"):
        done = run_binary(command, "--target_device", "CPU")
        assert done.returncode == 64 and f"{command}: expected --model_path PATH" in done.stderr, done
        assert "--config_path" not in done.stderr, done


@pytest.fixture
def one_processor():
    """A control group that grants the time of one processor: the file that takes processes."""
    parent = pathlib.Path("/sys/fs/cgroup/cpu")
    if not parent.is_dir():
        parent = pathlib.Path("/sys/fs/cgroup")
    folder = parent / f"switchyard-test-{os.getpid()}"
    try:
        folder.mkdir()
        if (folder / "cpu.cfs_quota_us").exists():
            (folder / "cpu.cfs_quota_us").write_text("100000")
            (folder / "cpu.cfs_period_us").write_text("100000")
        else:
            (folder / "cpu.max").write_text("100000 100000")
        procs = folder / "cgroup.procs"
        # Some machines let a group be made, but nobody be put into it.
        subprocess.run(["sh", "-c", f"echo $$ > {procs}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield procs
    wait_until(lambda: not procs.read_text(), limit_s=10, what="the control group's processes to end")
    folder.rmdir()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_inference_threads_follow_the_control_groups_quota(models, one_processor):
    def plan(*flags):
        command = [binary(), "plan", "--model_path", str(models / "dummy"), "--target_device", "CPU", "--json", *flags]
        text = f'echo $$ > {one_processor}; exec "$@"'
        ran = subprocess.run(["sh", "-c", text, "sh", *command], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)["reasons"]

    said = [reason for reason in plan() if "inference thread" in reason]
    assert len(said) == 1 and said[0].startswith("CPU runs 1 inference thread, since /sys/fs/cgroup/"), said
    assert "grants 1 of " in said[0]
    assert not any("inference thread" in reason for reason in plan("--plugin_config", '{"INFERENCE_NUM_THREADS": 2}'))
