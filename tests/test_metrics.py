"""/metrics: the names, types, labels and buckets that dashboards rely on, and that every front end's requests are counted."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from clients import FRONT_ENDS, KserveGrpc, KserveRest, TfsGrpc, TfsRest, rpc, tensor
from conftest import write_config
from harness import ROOT, Server

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
GOLDEN = ROOT / "tests" / "golden" / "metrics.txt"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPTIONAL = ("ovms_infer_req_queue_size", "ovms_infer_req_active")

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"')


class Page:
    """The text format 0.0.4, read strictly: every sample stands under its family's TYPE, and none comes twice."""

    def __init__(self, text):
        self.types, self.samples, self.labels = {}, {}, {}
        family = None
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                assert line.split(" ", 3)[3], line
            elif line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                assert family not in self.types, line
                self.types[family] = kind
            else:
                found = SAMPLE.fullmatch(line)
                assert found, line
                name, labels, value = found.groups()
                tails = ("_bucket", "_sum", "_count") if self.types[family] == "histogram" else ("",)
                assert name in [family + tail for tail in tails], line
                pairs = LABEL.findall(labels or "")
                key = (name, frozenset(pairs))
                assert key not in self.samples, line
                self.samples[key] = float(value)
                names = tuple(label for label, _ in pairs if not (name.endswith("_bucket") and label == "le"))
                self.labels.setdefault(family, set()).add(names)

    def value(self, name, /, **labels):
        return self.samples.get((name, frozenset(labels.items())))

    def sum(self, name, /, **labels):
        return sum(v for (n, have), v in self.samples.items() if n == name and labels.items() <= dict(have).items())


def golden():
    families, buckets = {}, {}
    for line in GOLDEN.read_text().splitlines():
        name, *rest = line.split()
        if name in ("buckets", "sizes"):
            buckets[name] = [int(bound) for bound in rest]
        elif name != "#":
            kind, when, *labels = rest
            families[name] = (kind, when, {tuple(entry.split(",")) if entry != "-" else () for entry in labels})
    return families, buckets


def scrape(server):
    answer = server.http("GET", "/metrics")
    assert answer.code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    return Page(answer.body.decode())


def start(folder, models, *args):
    return Server(folder, "--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU", *args)


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    with start(tmp_path_factory.mktemp("metrics"), models, "--metrics_enable") as running:
        yield running


def test_the_page_is_as_the_golden_file_says(server):
    families, buckets = golden()
    KserveRest(server).infer("dummy", [tensor("b", "FP32", TEN)])
    page = scrape(server)
    expected = {name for name, (_, when, _) in families.items() if when != "optional"}
    assert set(page.types) == expected
    for name in expected:
        kind, _, labels = families[name]
        assert page.types[name] == kind, name
        assert page.labels.get(name, labels) <= labels, name
        # Always with samples, but for what only happens to devices.
        rare = ("retried_calls_total", "failovers_total", "model_memory_bytes", "load_failures_total")
        if name.removeprefix("switchyard_") not in rare:
            assert page.labels[name] == labels, name
    for name, (kind, _, _) in families.items():
        if kind != "histogram":
            continue
        series = {}
        for (sample, labels), value in page.samples.items():
            if sample == name + "_bucket":
                rest = frozenset(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, {})[dict(labels)["le"]] = value
        assert series, name
        for labels, counts in series.items():
            bounds = buckets["sizes" if name == "switchyard_batch_size" else "buckets"]
            assert list(counts) == [str(bound) for bound in bounds] + ["+Inf"], name
            assert sorted(counts.values()) == list(counts.values()), name
            assert counts["+Inf"] == page.samples[(name + "_count", labels)]


# front end -> labels of an inference
INFERENCES = {
    "kserve-grpc": ("KServe", "gRPC", "ModelInfer"),
    "kserve-rest": ("KServe", "REST", "ModelInfer"),
    "tfs-grpc": ("TensorFlowServing", "gRPC", "Predict"),
    "tfs-rest": ("TensorFlowServing", "REST", "Predict"),
}


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda each: each.name)
def test_inferences_are_counted(server, front_end):
    client = front_end(server)
    api, interface, method = INFERENCES["-".join(front_end.name.split("-")[:2])]
    labels = {"name": "dummy", "version": "1"}
    endpoint = {"api": api, "interface": interface, "method": method, **labels}
    good = {"model": "dummy", "version": "1", "device": "CPU", "code": "OK"}
    bad = {"model": "dummy", "version": "1", "device": "none", "code": "INVALID_ARGUMENT"}
    before = scrape(server)
    for _ in range(3):
        outcome = client.infer("dummy", [tensor("b", "FP32", TEN)])
        assert outcome.ok, outcome
    for _ in range(2):
        assert not client.infer("dummy", [tensor("wrong", "FP32", TEN)]).ok
    assert not client.infer("nobody", [tensor("b", "FP32", TEN)]).ok  # not counted anywhere
    after = scrape(server)
    client.close()

    def rise(name, /, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert rise("ovms_requests_success", **endpoint) == 3
    assert rise("ovms_requests_fail", **endpoint) == 2
    assert rise("ovms_requests_fail") == 2
    assert rise("switchyard_requests_total", **good) == 3
    assert rise("switchyard_requests_total", **bad) == 2
    assert rise("switchyard_requests_total") == 5
    assert rise("ovms_request_time_us_count", interface=interface, **labels) == 3
    assert rise("ovms_request_time_us_count") == 3
    assert rise("ovms_inference_time_us_count", **labels) == 3
    assert rise("ovms_wait_for_infer_req_time_us_count", **labels) == 3
    infer, wait, total = (
        rise(f"ovms_{name}_us_sum") for name in ("inference_time", "wait_for_infer_req_time", "request_time")
    )
    assert 0 < infer and 0 < wait and infer + wait <= total


def test_metadata_readiness_and_status_are_counted(server):
    clients = {"KServe": (KserveGrpc, KserveRest), "TensorFlowServing": (TfsGrpc, TfsRest)}
    before = scrape(server)
    for api, (over_grpc, over_rest) in clients.items():
        for client in (over_grpc(server), over_rest(server)):
            assert client.metadata("dummy")[0].ok
            if api == "TensorFlowServing":
                assert client.status("dummy")[0].ok
            client.close()
    ready = KserveGrpc(server)
    assert ready.stub.ModelReady(pb.ModelReadyRequest(name="dummy")).ready
    assert not ready.stub.ModelReady(pb.ModelReadyRequest(name="nobody")).ready
    ready.close()
    assert server.http("GET", "/v2/models/dummy/ready").code == 200
    assert server.http("GET", "/v2/models/nobody/ready").code == 404
    assert server.http("GET", "/v2/models/dummy/versions/9/ready").code == 404
    after = scrape(server)
    assert "nobody" not in str(after.samples)
    for interface in ("gRPC", "REST"):
        for api, method, versioned in (
            ("KServe", "ModelMetadata", True),
            ("KServe", "ModelReady", False),
            ("TensorFlowServing", "GetModelMetadata", True),
            ("TensorFlowServing", "GetModelStatus", False),
        ):
            labels = {"api": api, "interface": interface, "method": method, "name": "dummy"}
            if versioned:
                labels["version"] = "1"
            assert after.value("ovms_requests_success", **labels) - before.value("ovms_requests_success", **labels) == 1, labels
    failed = {"api": "KServe", "interface": "REST", "method": "ModelReady", "name": "dummy"}
    assert after.value("ovms_requests_fail", **failed) - before.value("ovms_requests_fail", **failed) == 1


def test_calls_by_an_alias_count_for_its_model(models, tmp_path):
    entry = {"name": "dummy", "base_path": str(models / "dummy"), "target_device": "CPU", "aliases": ["front"]}
    config = write_config(tmp_path / "config.json", [entry])
    with Server(tmp_path, "--config_path", config, "--metrics_enable") as server:
        kserve, tfs = KserveGrpc(server), TfsGrpc(server)
        assert kserve.stub.ModelReady(pb.ModelReadyRequest(name="front")).ready
        assert tfs.status("front")[0].ok
        assert server.http("GET", "/v2/models/front/ready").code == 200
        assert server.http("GET", "/v1/models/front").code == 200
        assert server.http("GET", "/v2/models/front/versions/9/ready").code == 404
        kserve.close()
        tfs.close()
        page = scrape(server)
        for api, method in (("KServe", "ModelReady"), ("TensorFlowServing", "GetModelStatus")):
            for interface in ("gRPC", "REST"):
                labels = {"api": api, "interface": interface, "method": method, "name": "dummy"}
                assert page.value("ovms_requests_success", **labels) == 1, labels
        assert page.value("ovms_requests_fail", api="KServe", interface="REST", method="ModelReady", name="dummy") == 1
        assert "front" not in str(page.samples)


def test_a_stream_counts_its_messages(server):
    labels = {"api": "KServe", "interface": "gRPC", "method": "ModelInferStream", "name": "dummy", "version": "1"}
    client = KserveGrpc(server)
    before = scrape(server)
    messages = [client.request("dummy", [tensor(name, "FP32", TEN)]) for name in ("b", "wrong", "b")]
    answers = list(client.stub.ModelStreamInfer(iter(messages)))
    client.close()
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    after = scrape(server)
    assert after.value("ovms_requests_success", **labels) - before.value("ovms_requests_success", **labels) == 2
    assert after.value("ovms_requests_fail", **labels) - before.value("ovms_requests_fail", **labels) == 1


@pytest.mark.parametrize(
    "path, body",
    [("/v2/models/dummy/infer", "{no json"), ("/v1/models/dummy:predict", "{no json"), ("/v2/models/dummy/infer", "")],
)
def test_a_request_that_cannot_be_decoded_is_a_failure_of_its_model(server, path, body):
    before = scrape(server)
    assert server.http("POST", path, body).code == 400
    after = scrape(server)
    assert after.sum("ovms_requests_fail", name="dummy") - before.sum("ovms_requests_fail", name="dummy") == 1


def test_a_faulty_request_counts_for_the_version_that_it_names(models, tmp_path):
    for version in ("1", "2"):
        shutil.copytree(models / "dummy" / "1", tmp_path / "dummy" / version)
    entry = {"name": "dummy", "base_path": str(tmp_path / "dummy"), "target_device": "CPU", "model_version_policy": {"all": {}}}
    config = write_config(tmp_path / "config.json", [entry])
    with Server(tmp_path, "--config_path", config, "--metrics_enable") as server:
        kserve = KserveGrpc(server)
        request = kserve.request("dummy", [tensor("b", "FP32", TEN)], version="1")
        request.inputs[0].datatype = "FP33"
        _, outcome = rpc(kserve.stub.ModelInfer, request)
        kserve.close()
        assert outcome.code == "INVALID_ARGUMENT", outcome
        assert server.http("POST", "/v2/models/dummy/versions/1/infer", "{}").code == 400
        assert server.http("POST", "/v1/models/dummy/versions/1:predict", "{}").code == 400
        page = scrape(server)
        for version, count in (("1", 3), ("2", 0)):
            assert page.sum("ovms_requests_fail", name="dummy", version=version) == count, version
            assert page.sum("switchyard_requests_total", model="dummy", version=version) == count, version


def test_gauges_tell_what_is(server):
    page = scrape(server)
    assert page.value("ovms_streams", name="dummy", version="1") >= 1
    assert page.value("ovms_current_requests", name="dummy", version="1") == 0
    assert page.value("switchyard_queue_length", model="dummy", version="1") == 0
    states = [page.value("switchyard_device_state", device="CPU", state=state) for state in ("well", "suspect", "lost")]
    assert states == [1, 0, 0]
    assert page.sum("switchyard_build_info") == 1
    assert page.value("process_open_fds") > 3
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024
    assert page.value("process_resident_memory_bytes") == pytest.approx(resident, rel=0.3)


def test_bytes_batches_loads_and_refusals(server):
    labels = {"model": "dummy", "version": "1"}
    client = KserveRest(server)
    before = scrape(server)
    body = json.dumps({"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}]})
    answer = server.http("POST", "/v2/models/dummy/infer", body)
    assert answer.code == 200
    assert not client.infer("dummy", [tensor("wrong", "FP32", TEN)]).ok
    after = scrape(server)
    client.close()

    def rise(name, /, **more):
        return after.sum(name, **labels, **more) - before.sum(name, **labels, **more)

    assert rise("switchyard_request_bytes_total", interface="REST") > len(body)
    assert rise("switchyard_response_bytes_total", interface="REST") > len(answer.body)
    assert rise("switchyard_request_bytes_total", interface="gRPC") == 0
    assert (rise("switchyard_batch_size_count"), rise("switchyard_batch_size_sum")) == (1, 1)
    assert rise("switchyard_rejected_calls_total", reason="invalid") == 1
    assert rise("switchyard_rejected_calls_total") == 1
    assert after.value("switchyard_loads_total", model="dummy") == 1
    assert after.sum("switchyard_load_seconds", **labels, device="CPU", cache="off") > 0
    assert after.value("switchyard_queue_age_seconds", **labels) == 0
    assert after.value("switchyard_device_models", device="CPU") == 1
    on_cpu = [page.value("switchyard_device_requests_total", device="CPU", code="OK") for page in (before, after)]
    assert on_cpu[1] - on_cpu[0] == 1


def test_an_expired_call_is_counted(server):
    before = scrape(server)
    body = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1] * 10}], "parameters": {"timeout": 1}}
    codes = [server.http("POST", "/v2/models/dummy/infer", json.dumps(body)).code for _ in range(20)]
    after = scrape(server)
    expired = after.sum("switchyard_expired_calls_total") - before.sum("switchyard_expired_calls_total")
    assert codes.count(504) == expired > 0


def test_a_failed_load_is_counted_with_its_reason(models, tmp_path):
    bad = tmp_path / "bad" / "1"
    bad.mkdir(parents=True)
    (bad / "model.xml").write_text("no model")
    (bad / "model.bin").write_bytes(b"")
    entries = [{"name": name, "base_path": str(path), "target_device": "CPU"}
               for name, path in (("dummy", models / "dummy"), ("bad", tmp_path / "bad"))]
    with Server(tmp_path, "--config_path", write_config(tmp_path / "config.json", entries)) as running:
        page = scrape(running)
        assert page.sum("switchyard_load_failures_total", model="bad") >= 1
        assert page.sum("switchyard_load_failures_total", model="dummy") == 0
        assert page.value("switchyard_loads_total", model="dummy") == 1


def test_verbs(server):
    head = server.http("HEAD", "/metrics")
    assert (head.code, head.body, head.headers["content-type"]) == (200, b"", CONTENT_TYPE)
    assert server.http("GET", "/metrics?name=x").code == 200
    refused = server.http("POST", "/metrics", "x")
    assert (refused.code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_without_the_flag_only_our_own_are_there(models, tmp_path):
    with start(tmp_path, models) as running:
        page = scrape(running)
        own = {name for name, (_, when, _) in golden()[0].items() if when == "own"}
        assert set(page.types) == own


def test_a_list_replaces_the_default(models, tmp_path):
    chosen = ["ovms_requests_success", *OPTIONAL]
    with start(tmp_path, models, "--metrics_enable", "--metrics_list", ", ".join(chosen)) as running:
        page = scrape(running)
        assert {name for name in page.types if name.startswith("ovms_")} == set(chosen)
        assert page.value("ovms_infer_req_queue_size", name="dummy", version="1") >= 1
        assert page.value("ovms_infer_req_active", name="dummy", version="1") == 0


def with_monitoring(path, models, metrics):
    config = write_config(path, [{"name": "dummy", "base_path": str(models / "dummy"), "target_device": "CPU"}])
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "monitoring": {"metrics": metrics}}))
    return config


def test_config_file(models, tmp_path):
    listed = {"enable": True, "metrics_list": ["ovms_requests_fail"]}
    config = with_monitoring(tmp_path / "config.json", models, listed)
    with Server(tmp_path, "--config_path", config) as running:
        assert {name for name in scrape(running).types if name.startswith("ovms_")} == {"ovms_requests_fail"}


@pytest.mark.parametrize(
    "metrics, args, text",
    [
        ({"enable": True, "metrics_list": ["ovms_stream"]}, [], "ovms_stream.*ovms_streams"),
        ({"enable": True}, ["--metrics_enable"], "one place"),
        ({"enable": True}, ["--rest_port", "0", "--rest_bind_address", "127.0.0.1"], "rest_port"),
    ],
)
def test_faulty_config_files(models, tmp_path, metrics, args, text):
    config = with_monitoring(tmp_path / "config.json", models, metrics)
    failed = Server(tmp_path, "--config_path", config, *args)
    assert failed.wait_exit() == 1
    assert re.search(text, failed.log), failed.log
