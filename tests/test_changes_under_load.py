"""Models come, change and go while eight clients of all protocols call them without pause and check every answer.

Version N of a model adds N, so that an answer tells what made it. No call may fail, wait long, or be answered by what was
replaced before it began; descriptors, threads and memory return to what they were. The quick set has a few of each change, the
slow one many.
"""

import errno
import os
import random
import shutil
import subprocess
import threading
import time

import numpy as np
import onnx
import openvino as ov
import pytest
from openvino import opset13 as ops

from clients import KserveGrpc, KserveRest, KserveRestBinary, TfsGrpc, ask, tensor
from conftest import write_config
from harness import Server, binary, sanitized, wait_until
from testing.models.ir import plus_one
from testing.steady_clients import SteadyClients
from web import SLOW_PIECE

LONGEST_CALL_S = 5
MB = 1 << 20


@pytest.fixture(params=["few", pytest.param("many", marks=pytest.mark.slow)])
def many(request):
    """many(50) is 50 in the slow set, and `few` in the quick one."""
    return lambda number, few=5: number if request.param == "many" else few


class CheckingClients(SteadyClients):
    """Each caller is (front end, model, version or label). `history[model]` are the addends that were served, in order: answers
    may go forward in it, never back, and not be older than what had been seen by all when the call began."""

    def __init__(self, server, callers, history):
        super().__init__(None, count=len(callers))
        self.server, self.callers, self.history = server, callers, history
        self.floor = dict.fromkeys(history, 0)
        self.position = [0] * len(callers)
        self.longest = 0.0

    def run(self, index):
        front_end, model, version = self.callers[index]
        client = front_end(self.server)
        value = np.arange(10, dtype=np.float32).reshape(1, 10) + index
        while not self.stopping.is_set():
            oldest, begin = max(self.floor[model], self.position[index]), time.monotonic()
            try:
                outcome = client.infer(model, [tensor("b", "FP32", value)], version)
            except Exception as error:  # every error of a call is what this looks for
                self.faults.append(repr(error))
                continue
            self.longest = max(self.longest, time.monotonic() - begin)
            self.calls[index] += 1
            if not outcome.ok:
                self.faults.append(f"{model}: {outcome.code} {outcome.message}")
                continue
            answer, history = outcome.outputs["a"].data, self.history[model]
            right = (p for p in range(oldest, len(history)) if np.array_equal(answer, value + np.float32(history[p])))
            position = next(right, None)
            if position is None:
                self.faults.append(f"{model}: {answer} for {value}; what may serve adds {history[oldest:]}")
            else:
                self.position[index] = position
        client.close()

    def may_serve(self, model, addend):
        self.history[model].append(addend)

    def wait_for_newest(self, model):
        newest = len(self.history[model]) - 1

        def seen():
            assert not self.faults, self.faults[:3]
            return all(self.position[i] == newest for i, caller in enumerate(self.callers) if caller[1] == model)

        wait_until(seen, 30, f"{model} to add {self.history[model][newest]}")
        self.floor[model] = newest

    def check(self):
        assert self.faults == [], self.faults[:3]
        assert self.longest < LONGEST_CALL_S, f"a call took {self.longest:.1f} s"


def callers_of(*models):
    """Eight: of each model in turn, by each protocol in turn."""
    front_ends = (KserveGrpc, KserveRestBinary, TfsGrpc, KserveRest)
    return [(front_ends[i // len(models) % 4], models[i % len(models)], "") for i in range(8)]


class Vitals:
    """Descriptors, threads and resident memory of a server, the least of several looks: what goes does so a moment later."""

    def __init__(self, server, clients):
        looks = []
        for _ in range(15):
            clients.go_on()
            folder = f"/proc/{server.process.pid}"
            looks.append((len(os.listdir(folder + "/fd")), len(os.listdir(folder + "/task")), server.resident_bytes()))
            time.sleep(0.05)
        self.descriptors, self.threads, self.bytes = (min(column) for column in zip(*looks))

    def __repr__(self):
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.bytes / MB:.1f} MB"


def check_vitals(before, server, clients, what):
    after = Vitals(server, clients)
    print(f"{what}: {sum(clients.calls)} calls, {len(clients.faults)} faults, longest {clients.longest * 1000:.0f} ms;"
          f" before: {before}; after: {after}")
    # A REST call has a connection of its own: some are open at any moment.
    assert after.descriptors <= before.descriptors + 4, (before, after)
    # gRPC's own pool has as many as it needed at once.
    assert after.threads <= before.threads + 4, (before, after)
    assert after.bytes <= before.bytes * 1.1 + 16 * MB, (before, after)


def stage(base, number, addend=None):
    """A whole version beside the repository, marked as such."""
    folder = base.parent.parent / "staged" / f"{base.name}_{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plus_one(folder, addend=number if addend is None else addend)
    (folder / ".complete").touch()
    return folder


def add_version(base, number, addend=None):
    """It is there as a whole at once."""
    staged = stage(base, number, addend)
    base.mkdir(parents=True, exist_ok=True)
    staged.rename(base / str(number))


def entry(name, base, **more):
    return {"name": name, "base_path": str(base), "target_device": "CPU", **more}


def reason(server, model, version):
    rows = server.http("GET", f"/v1/models/{model}").json()["model_version_status"]
    return next((row["status"]["error_message"] for row in rows if int(row["version"]) == version), "")


def last_reload(server):
    return server.http("GET", "/v1/config").json().get("last_reload", {})


def pinned(base, number, **more):
    policy = {"specific": {"versions": [number]}}
    return entry("pinned", base, model_version_policy=policy, labels={"stable": number}, **more)


@pytest.mark.timeout(240)
def test_version_changes(tmp_path, many):
    """By folders that come and go (policy latest), and by config.json (policy specific, with a label that moves along)."""
    latest, specific = tmp_path / "repository" / "latest", tmp_path / "repository" / "pinned"
    add_version(latest, 1), add_version(specific, 1)
    config = tmp_path / "config.json"
    write_config(config, [entry("latest", latest), pinned(specific, 1)])
    callers = callers_of("latest", "pinned")
    callers[1] = (KserveGrpc, "pinned", "stable")
    with Server(tmp_path / "server", "--config_path", config, "--file_system_poll_wait_seconds", 1) as server:
        with CheckingClients(server, callers, {"latest": [1], "pinned": [1]}) as clients:
            before = None
            for change in range(many(50)):
                model, base = ("latest", latest) if change % 2 == 0 else ("pinned", specific)
                number = change // 2 + 2
                if change == 2:
                    before = Vitals(server, clients)
                clients.may_serve(model, number)
                add_version(base, number)
                if model == "pinned":
                    write_config(config, [entry("latest", latest), pinned(specific, number)])
                    if change % 4 == 1:
                        assert server.http("POST", "/v1/config/reload").code == 201
                clients.wait_for_newest(model)
                shutil.rmtree(base / str(number - 1))
            check_vitals(before, server, clients, f"{many(50)} version changes")
        clients.check()


@pytest.mark.timeout(240)
def test_an_alias_moves(tmp_path, many):
    """To a model that has to be loaded first, while the one before it leaves the configuration."""
    bases = [tmp_path / "repository" / name for name in ("a", "b")]
    for addend, base in enumerate(bases, 1):
        add_version(base, 1, addend)
    entries = [[entry(base.name, base, aliases=["front"])] for base in bases]
    config = write_config(tmp_path / "config.json", entries[0])
    with Server(tmp_path / "server", "--config_path", config, "--file_system_poll_wait_seconds", 0) as server:
        with CheckingClients(server, callers_of("front"), {"front": [1]}) as clients:
            for change in range(many(50)):
                clients.may_serve("front", 2 - change % 2)
                write_config(config, entries[(change + 1) % 2])
                assert server.http("POST", "/v1/config/reload").code == 201
                clients.wait_for_newest("front")
            print(f"{many(50)} moves: {sum(clients.calls)} calls, longest {clients.longest * 1000:.0f} ms")
        clients.check()


SETTINGS = (
    {"nireq": 3},
    {"plugin_config": {"NUM_STREAMS": 2}},
    {"batch_size": "auto"},
    {"labels": {"stable": 1}, "aliases": ["front"]},
    {"plugin_config": {"PERFORMANCE_HINT": "THROUGHPUT"}, "nireq": 2},
    {"batch_size": 1},
    {"device_timeout_ms": 20000, "warmup": {"requests": 2}},
    {"dynamic_batching": {"max_batch_size": 4, "max_delay_us": 100}},
    {"shape": "(-1,10)"},
    {"plugin_config": {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}},
)


@pytest.mark.timeout(240)
def test_settings_change(tmp_path, many):
    """By a call and by the watching in turn; the other model's settings stay, and with them what serves."""
    changing, other = tmp_path / "repository" / "changing", tmp_path / "repository" / "other"
    folder = changing / "1"
    folder.mkdir(parents=True)
    plus_one(folder, (-1, 10))
    add_version(other, 7)
    config = write_config(tmp_path / "config.json", [entry("changing", changing), entry("other", other)])
    with Server(tmp_path / "server", "--config_path", config, "--file_system_poll_wait_seconds", 1) as server:
        with CheckingClients(server, callers_of("changing", "other"), {"changing": [1], "other": [7]}) as clients:
            before = None
            for change in range(many(50)):
                if change == many(50) // 2:
                    before = Vitals(server, clients)
                settings, then = SETTINGS[change % len(SETTINGS)], last_reload(server).get("time")
                new = write_config(tmp_path / "new.json", [entry("changing", changing, **settings), entry("other", other)])
                new.rename(config)
                if change % 2 == 0:
                    answer = server.http("POST", "/v1/config/reload")
                    assert answer.code == 201, (settings, answer)
                else:
                    wait_until(lambda t=then: last_reload(server).get("time") != t, 20, "a reload")
                    told = last_reload(server)
                    assert told["code"] == 201, (settings, told)
                clients.go_on()
                assert not clients.faults, (settings, clients.faults[:3])
            check_vitals(before, server, clients, f"{many(50)} changes of settings")
            assert server.log.count("Model other version 7 is available") == 1
        clients.check()


# A key of an entry, its faulty value, and what the refusal points at.
FAULTS = (
    ("nireq", "two", "/nireq"),
    ("shap", "(1,10)", "/shap"),
    ("batch_size", "many", "/batch_size"),
    ("layout", "NHWC:QQ", "/layout"),
    ("base_path", "nowhere", "/base_path"),
    ("target_device", "NPU.7", "/target_device"),
    ("plugin_config", {"NUM_STREAM": 2}, "/plugin_config/NUM_STREAM"),
    ("labels", {"stable": 9}, "/labels/stable"),
    ("model_version_policy", {"specific": {"versions": [9]}}, "/model_version_policy"),
    ("warmup", {"file": "nowhere.json"}, "/warmup/file"),
)


@pytest.mark.timeout(240)
def test_broken_configs(tmp_path, many):
    """Each has several faults: the refusal names all of them, and nothing changes. The watching notices half of the files."""
    base = tmp_path / "repository" / "dummy"
    add_version(base, 1)
    config = write_config(tmp_path / "config.json", [entry("dummy", base)])
    with Server(tmp_path / "server", "--config_path", config, "--file_system_poll_wait_seconds", 1) as server:
        with CheckingClients(server, callers_of("dummy"), {"dummy": [1]}) as clients:
            before, loads = Vitals(server, clients), server.log.count("Loading model")
            served = server.http("GET", "/v1/models/dummy").json()
            for change in range(many(20)):
                chosen = [FAULTS[(change + step) % len(FAULTS)] for step in range(2 + change % 4)]
                entries = [entry("dummy" if i == 0 else f"m{i}", base) | {fault[0]: fault[1]} for i, fault in enumerate(chosen)]
                entries.append(entry("good", base))
                expected = sorted(f"/model_config_list/{i}/config{fault[2]}" for i, fault in enumerate(chosen))
                write_config(config, entries)
                if change % 2 == 0:
                    answer = server.http("POST", "/v1/config/reload")
                    assert answer.code == 400, (chosen, answer)
                    faults = answer.json()["faults"]
                    assert all(fault["pointer"] in answer.json()["error"] for fault in faults)
                    assert sorted(fault["pointer"] for fault in faults) == expected, (chosen, faults)
                else:
                    def named():
                        faults = last_reload(server).get("faults", [])
                        return sorted(fault["pointer"] for fault in faults) == expected

                    wait_until(named, 20, f"the refusal of {chosen}")
                clients.go_on()
                assert server.http("GET", "/v1/models/dummy").json() == served
                assert server.http("GET", "/v1/models/good").code == 404
            assert server.log.count("Loading model") == loads
            check_vitals(before, server, clients, f"{many(20)} broken configurations")
        clients.check()


def cut(file, part):
    os.truncate(file, int(file.stat().st_size * part))


def scramble(file):
    file.write_bytes(random.Random(1).randbytes(max(file.stat().st_size, 4096)))


CORRUPTIONS = {
    "the graph is cut": lambda folder: cut(folder / "model.xml", 0.5),
    "the weights are cut": lambda folder: cut(folder / "model.bin", 0),
    "the graph is garbage": lambda folder: scramble(folder / "model.xml"),
    "the graph is empty": lambda folder: cut(folder / "model.xml", 0),
    "the graph ends early": lambda folder: cut(folder / "model.xml", 0.95),
}


@pytest.mark.timeout(240)
def test_corrupt_models_and_a_vanished_folder(tmp_path, many):
    """A new version that is garbage, garbage in the place of what serves, and a folder that goes and comes back."""
    base = tmp_path / "repository" / "dummy"
    add_version(base, 1)
    with Server(tmp_path / "server", "--model_name", "dummy", "--model_path", base, "--target_device", "CPU") as server:
        with CheckingClients(server, callers_of("dummy"), {"dummy": [1]}) as clients:
            before, addend = None, 1
            for change in range(many(15, 3)):
                name, corrupt = list(CORRUPTIONS.items())[change % len(CORRUPTIONS)]
                if change == 2:
                    before = Vitals(server, clients)
                number = 100 + change
                bad = stage(base, number)
                corrupt(bad)
                bad.rename(base / str(number))
                wait_until(lambda n=number: reason(server, "dummy", n) not in ("", "OK"), 20, f"the reason, when {name}")
                clients.go_on()
                shutil.rmtree(base / str(number))
                # What serves, where it lies.
                corrupt(base / "1")
                wait_until(lambda: reason(server, "dummy", 1) not in ("", "OK"), 20, f"the reason of what serves, when {name}")
                clients.go_on()
                shutil.rmtree(base)
                wait_until(lambda: "is not there" in reason(server, "dummy", 1), 20, "the reason of the folder")
                clients.go_on()
                addend += 1
                clients.may_serve("dummy", addend)
                add_version(base, 1, addend)
                clients.wait_for_newest("dummy")
                wait_until(lambda: reason(server, "dummy", 1) in ("", "OK"), 20, "no reason")
            check_vitals(before, server, clients, f"{many(15, 3)} times garbage and a vanished folder")
        clients.check()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system that can be full needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    with open(folder / "filling", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


@pytest.mark.timeout(240)
def test_a_full_disk(tmp_path, small_disk, many):
    """The cache and both logs are on it: versions come and serve all the same; when there is room again, all is kept again."""
    base = tmp_path / "repository" / "dummy"
    add_version(base, 1)
    log, cache = small_disk / "server.log", small_disk / "cache"
    flags = ("--cache_dir", cache, "--log_path", log, "--access_log", small_disk / "access.log")
    with Server(tmp_path / "server", "--model_name", "dummy", "--model_path", base, "--target_device", "CPU", *flags) as server:
        with CheckingClients(server, callers_of("dummy"), {"dummy": [1]}) as clients:
            before = None
            fill(small_disk)
            for change in range(many(10, 3)):
                number = change + 2
                clients.may_serve("dummy", number)
                add_version(base, number)
                clients.wait_for_newest("dummy")
                shutil.rmtree(base / str(number - 1))
                placement = server.http("GET", "/v1/models/dummy/placement").json()
                assert any("disk" in text or "cache" in text for text in placement["reasons"]), placement
                if change == 1:
                    before = Vitals(server, clients)
            assert not list(cache.glob("*.bad"))
            check_vitals(before, server, clients, f"{many(10, 3)} versions on a full disk")
        clients.check()
        (small_disk / "filling").unlink()
        # What clients asked for in the meantime fills it, too.
        os.truncate(small_disk / "access.log", 0)
        add_version(base, 99)
        wait_until(lambda: server.http("GET", "/v2/models/dummy/versions/99/ready").code == 200, 20, "version 99")
        assert server.http("GET", "/v1/models/dummy/placement").json()["reasons"] == []
        assert "version 99 is available" in log.read_text(errors="replace")


def onnx_model(addend):
    """b + addend, of several of the pieces that the web server sends when it is slow."""
    tensor_of = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["b", "addend"], ["a"])],
        "add",
        [tensor_of("b", onnx.TensorProto.FLOAT, [1, 10])],
        [tensor_of("a", onnx.TensorProto.FLOAT, [1, 10])],
        [onnx.numpy_helper.from_array(np.full(10, addend, np.float32), "addend")],
        doc_string="x" * (3 * SLOW_PIECE),
    )
    opset = onnx.helper.make_opsetid("", 17)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


@pytest.mark.timeout(240)
def test_a_pull_into_the_served_repository_is_killed(tmp_path, web, many):
    """What it had fetched is served by nobody; another pull goes on with it, and then it serves."""
    repository = tmp_path / "repository"
    add_version(repository / "dummy", 1)
    command = [binary(), "pull", web.url + "/dummy.onnx", "--repository", repository]
    flags = ("--model_name", "dummy", "--model_path", repository / "dummy", "--target_device", "CPU")
    with Server(tmp_path / "server", *flags, "--file_system_poll_wait_seconds", 1) as server:
        with CheckingClients(server, callers_of("dummy"), {"dummy": [1]}) as clients:
            before = None
            for number in range(2, 2 + many(20, 3)):
                if number == 4:
                    before = Vitals(server, clients)
                web.files["/dummy.onnx"] = onnx_model(number)
                held = threading.Event()
                web.plan["/dummy.onnx"] = [{"hold": held}]
                process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                try:
                    parts = lambda: [part.stat().st_size for part in repository.rglob("*.part")]  # noqa: E731
                    wait_until(lambda: parts() == [SLOW_PIECE], 20, "the first piece")
                finally:
                    process.kill()
                    process.wait()
                    held.set()
                clients.go_on()
                rows = server.http("GET", "/v1/models/dummy").json()["model_version_status"]
                assert [(row["version"], row["state"]) for row in rows if row["state"] != "END"] == [
                    (str(number - 1), "AVAILABLE")
                ], rows
                clients.may_serve("dummy", number)
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
                assert done.returncode == 0, done.stderr
                clients.wait_for_newest("dummy")
                assert parts() == []
            check_vitals(before or Vitals(server, clients), server, clients, f"{many(20, 3)} killed pulls")
            assert "[error]" not in server.log.lower(), server.log
        clients.check()


def matrix_model(base, seed):
    """x [1,256] -> y [1,256], 16 MB of weights that `seed` makes."""
    value = ops.parameter([1, 256], ov.Type.f32, "x")
    value.output(0).set_names({"x"})
    draw, node = np.random.default_rng(seed), value
    for shape in ((8192, 256), (256, 8192)):
        node = ops.matmul(node, ops.constant(draw.standard_normal(shape, np.float32) / 64), False, True)
    node.output(0).set_names({"y"})
    folder = base / "1"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(node)], [value], "matrices"), folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


@pytest.mark.timeout(240)
def test_a_server_is_killed_while_it_writes_the_cache(tmp_path, many):
    """Two that share the folder start after it: each answers by the model that is there now, bit for bit."""
    base, cache = tmp_path / "repository" / "m", tmp_path / "cache"
    args = ("--model_name", "m", "--model_path", base, "--target_device", "CPU", "--cache_dir", cache)
    value = np.random.default_rng(0).standard_normal((1, 256), np.float32)
    killed = []
    for turn in range(many(10, 2)):
        path = matrix_model(base, turn)
        compiled = ov.Core().compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        expected = np.array(compiled([value])[0])
        victim = Server(tmp_path / "victim", *args)
        try:
            # While the blob grows, when it is whole, and while it is moved in.
            def writes():
                return any(file.stat().st_size > 0 for file in cache.glob(".staging*/*.blob"))

            def at_it():
                try:
                    return writes()
                except FileNotFoundError:
                    return True

            wait_until(lambda: at_it() or victim.ready_file.exists(), 60, "the cache to be written")
            time.sleep(turn % 5 * 0.004)
        finally:
            victim.kill()
        killed.append(len(list(cache.glob(".staging*"))))
        first, second = Server(tmp_path / "first", *args), Server(tmp_path / "second", *args)
        with first, second:
            for server in (first, second):
                answer = ask(server, KserveGrpc, "m", [tensor("x", "FP32", value)])["y"].data
                assert np.array_equal(answer, expected), turn
                told = server.http("GET", "/v1/models/m/placement").json()
                assert not any("set aside" in text for text in told["reasons"]), told
        assert not list(cache.glob(".staging*")) and not list(cache.glob("*.bad"))
    print(f"{len(killed)} servers killed, {sum(killed)} of them left a folder behind")
    assert sum(killed) > 0, "no server was killed while it wrote"
    with Server(tmp_path / "last", *args) as server:
        assert server.http("GET", "/v1/models/m/placement").json()["cache"] == "hit"
