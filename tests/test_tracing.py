"""W3C trace context in and out, and spans at a collector."""

import http.server
import json
import re
import threading
import time

import numpy as np
import pytest

from clients import KserveGrpc, TfsGrpc, tensor
from conftest import serve_dummy
from harness import run_binary, wait_until
from testing.clouds import Authority

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
BODY = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [1.0] * 10}]}
ROWS = {"instances": [[1.0] * 10]}


class Collector:
    """Takes OTLP over HTTP as JSON, on loopback."""

    def __init__(self, authority=None):
        self.requests, self.answers, self.hold = [], [], threading.Event()
        self.hold.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                collector.hold.wait(30)
                collector.requests.append((self.path, dict(self.headers), json.loads(payload)))
                self.send_response(collector.answers.pop(0) if collector.answers else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if authority:
            self.server.socket = authority.context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if authority else ''}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [
            span
            for _, _, document in list(self.requests)
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracing")
    with serve_dummy(folder, models, "--access_log", folder / "access.log") as running:
        running.access = folder / "access.log"
        yield running


def attributes(span):
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


@pytest.mark.parametrize("path, document", [("/v2/models/dummy/infer", BODY), ("/v1/models/dummy:predict", ROWS)])
def test_rest_passes_a_trace_on(server, path, document):
    answer = server.http("POST", path, document, {"traceparent": SAMPLED, "tracestate": "rojo=1,congo=t61"})
    assert answer.code == 200
    found = re.fullmatch(f"00-{TRACE}-([0-9a-f]{{16}})-01", answer.headers["traceparent"])
    assert found and found[1] != SPAN
    assert answer.headers["tracestate"] == "rojo=1,congo=t61"
    line = wait_until(
        lambda: [each for each in map(json.loads, server.access.read_text().splitlines()) if each.get("span_id") == found[1]]
    )[0]
    assert (line["trace_id"], line["parent_span_id"]) == (TRACE, SPAN)


def test_errors_belong_to_the_trace_too(server):
    refused = server.http("POST", "/v2/models/nobody/infer", BODY, {"traceparent": UNSAMPLED})
    assert refused.code == 404
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", refused.headers["traceparent"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"tracestate": "rojo=1"},
        {"traceparent": "nonsense"},
        {"traceparent": SAMPLED.upper()},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": SAMPLED + "-more"},
        {"traceparent": "x" * 10000},
    ],
)
def test_without_a_valid_traceparent_there_is_no_trace(server, headers):
    answer = server.http("POST", "/v2/models/dummy/infer", BODY, headers)
    assert answer.code == 200
    assert "traceparent" not in answer.headers and "tracestate" not in answer.headers


@pytest.mark.parametrize("state", ["no members", "A=1", "a=\xe4", "a=" + "x" * 600])
def test_a_faulty_tracestate_is_left_out(server, state):
    answer = server.http("POST", "/v2/models/dummy/infer", BODY, {"traceparent": SAMPLED, "tracestate": state})
    assert answer.code == 200
    assert TRACE in answer.headers["traceparent"] and "tracestate" not in answer.headers


@pytest.mark.parametrize("front_end", [KserveGrpc, TfsGrpc], ids=lambda each: each.name)
def test_grpc_passes_a_trace_on(server, front_end):
    client = front_end(server)
    method = client.stub.ModelInfer if front_end is KserveGrpc else client.stub.Predict
    request = client.request("dummy", [tensor("b", "FP32", TEN)])
    metadata = (("traceparent", SAMPLED), ("tracestate", "rojo=1"))
    _, call = method.with_call(request, metadata=metadata)
    initial = dict(call.initial_metadata())
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", initial["traceparent"])
    assert initial["tracestate"] == "rojo=1"
    _, call = method.with_call(request, metadata=(("traceparent", "nonsense"),))
    assert "traceparent" not in dict(call.initial_metadata())
    _, call = method.with_call(request)
    assert "traceparent" not in dict(call.initial_metadata())
    client.close()


def test_a_stream_passes_a_trace_on(server):
    client = KserveGrpc(server)
    messages = [client.request("dummy", [tensor("b", "FP32", TEN)]) for _ in range(2)]
    call = client.stub.ModelStreamInfer(iter(messages), metadata=(("traceparent", SAMPLED),))
    assert len(list(call)) == 2
    assert TRACE in dict(call.initial_metadata())["traceparent"]
    client.close()

    def of_the_stream():
        lines = map(json.loads, server.access.read_text().splitlines())
        return [line for line in lines if line["method"] == "ModelInferStream"]

    lines = wait_until(lambda: len(of_the_stream()) == 2 and of_the_stream())
    assert len({line["span_id"] for line in lines}) == 2
    assert {line["trace_id"] for line in lines} == {TRACE}


def test_spans_at_the_collector(models, tmp_path, collector):
    began = time.time_ns()
    environment = {"OTEL_SERVICE_NAME": "under test"}
    with serve_dummy(tmp_path, models, "--otlp_endpoint", collector.url, "--trace_sample_rate", "0", env=environment) as server:
        document = {**BODY, "id": "seven"}
        headers = {"traceparent": SAMPLED, "tracestate": "rojo=1"}
        answer = server.http("POST", "/v2/models/dummy/infer", document, headers)
        assert server.http("POST", "/v2/models/dummy/infer", {"inputs": []}, {"traceparent": SAMPLED}).code == 400
        assert server.http("POST", "/v2/models/dummy/infer", BODY, {"traceparent": UNSAMPLED}).code == 200
        assert server.http("POST", "/v2/models/dummy/infer", BODY).code == 200
        wait_until(lambda: server.metric(r'^switchyard_traced_requests_total\{result="exported"') == 2, 15, "two exported")
    path, headers, first = collector.requests[0]
    assert (path, headers["Content-Type"]) == ("/v1/traces", "application/json")
    resource = first["resourceSpans"][0]["resource"]
    assert attributes(resource)["service.name"] == "under test"
    spans = collector.spans()
    assert {span["traceId"] for span in spans} == {TRACE}
    good, bad = (span for span in spans if span["kind"] == 2)
    assert (good["parentSpanId"], good["name"], good["traceState"]) == (SPAN, "KServe/ModelInfer", "rojo=1")
    assert good["spanId"] == answer.headers["traceparent"].split("-")[2]
    assert began < int(good["startTimeUnixNano"]) < int(good["endTimeUnixNano"]) < time.time_ns()
    said = attributes(good)
    assert (said["switchyard.model"], said["switchyard.device"]) == ("dummy", "CPU")
    assert (said["switchyard.request_id"], said["switchyard.status"]) == ("seven", "OK")
    assert bad["status"] == {"code": 2, "message": "INVALID_ARGUMENT"} and "status" not in good
    stages = [span for span in spans if span.get("parentSpanId") == good["spanId"]]
    assert [span["name"] for span in stages] == ["decode", "queue", "compute", "encode"]
    edges = [good["startTimeUnixNano"], *(span["endTimeUnixNano"] for span in stages)]
    assert [span["startTimeUnixNano"] for span in stages] == edges[:-1] and edges[-1] == good["endTimeUnixNano"]
    assert len({span["spanId"] for span in spans}) == len(spans)


def test_requests_without_a_trace_begin_one_by_the_rate(models, tmp_path, collector):
    with serve_dummy(tmp_path, models, "--otlp_endpoint", collector.url + "/v1/traces") as server:
        answers = [server.http("POST", "/v2/models/dummy/infer", BODY) for _ in range(3)]
    # The stop sends what is there.
    roots = [span for span in collector.spans() if span["kind"] == 2]
    assert [span["traceId"] for span in roots] == [answer.headers["traceparent"].split("-")[1] for answer in answers]
    assert not any("parentSpanId" in span for span in roots)


def test_a_collector_that_is_busy_is_asked_again(models, tmp_path, collector):
    collector.answers = [503]
    with serve_dummy(tmp_path, models, "--otlp_endpoint", collector.url) as server:
        assert server.http("POST", "/v2/models/dummy/infer", BODY).code == 200
        wait_until(lambda: server.metric(r'^switchyard_traced_requests_total\{result="exported"') == 1, 20, "exported")
    assert len(collector.requests) == 2
    assert "HTTP 503" in server.log


def test_a_collector_that_refuses_is_not(models, tmp_path, collector):
    collector.answers = [400]
    with serve_dummy(tmp_path, models, "--otlp_endpoint", collector.url) as server:
        assert server.http("POST", "/v2/models/dummy/infer", BODY).code == 200
        wait_until(lambda: server.metric(r'^switchyard_traced_requests_total\{result="failed"') == 1, 20, "failed")
    assert len(collector.requests) == 1


def test_credentials_go_to_the_collector_and_into_no_log(models, tmp_path, collector):
    collector.answers = [400]
    endpoint = collector.url.replace("http://", "http://me:hunter2@") + "/v1/traces?key=hunter3"
    with serve_dummy(tmp_path, models, "--otlp_endpoint", endpoint, "--log_level", "TRACE") as server:
        assert server.http("POST", "/v2/models/dummy/infer", BODY).code == 200
        wait_until(lambda: server.metric(r'^switchyard_traced_requests_total\{result="failed"') == 1, 20, "failed")
    path, headers, _ = collector.requests[0]
    assert (path, headers["Authorization"]) == ("/v1/traces?key=hunter3", "Basic bWU6aHVudGVyMg==")
    assert f"cannot be sent to {collector.url}/v1/traces: it answers HTTP 400" in server.log
    assert "hunter" not in server.log


def test_a_collector_of_an_authority_that_is_named(models, tmp_path):
    authority = Authority(tmp_path / "authority")
    collector = Collector(authority)
    try:
        for trusted in (str(authority.file), ""):
            folder = tmp_path / ("named" if trusted else "not_named")
            folder.mkdir()
            environment = {"SSL_CERT_FILE": trusted}
            with serve_dummy(folder, models, "--otlp_endpoint", collector.url, env=environment) as server:
                assert server.http("POST", "/v2/models/dummy/infer", BODY).code == 200
                wait_until(lambda: collector.requests if trusted else "SSL_CERT_FILE" in server.log, 20, "the spans' fate")
            assert ("SSL_CERT_FILE" in server.log) == (not trusted), server.log
            assert len(collector.requests) == 1
    finally:
        collector.close()


def test_a_collector_that_hangs_costs_requests_nothing(models, tmp_path, collector):
    collector.hold.clear()
    with serve_dummy(tmp_path, models, "--otlp_endpoint", collector.url) as server:
        client = KserveGrpc(server)
        for _ in range(4000):  # more than the queue takes
            assert client.infer("dummy", [tensor("b", "FP32", TEN)]).ok
        client.close()
        assert server.metric(r'^switchyard_traced_requests_total\{result="dropped"') > 1000
        begin = time.monotonic()
    assert time.monotonic() - begin < 10, "the stop waited for the collector"


@pytest.mark.parametrize(
    "args, text",
    [
        (["--otlp_endpoint", "localhost:4318"], "http://localhost:4318"),
        (["--otlp_endpoint", "file:///etc/passwd"], "http://localhost:4318"),
        (["--otlp_endpoint", "http://localhost:4318", "--trace_sample_rate", "2"], "from 0 to 1"),
        (["--otlp_endpoint", "http://localhost:4318", "--trace_sample_rate", "nan"], "from 0 to 1"),
        (["--trace_sample_rate", "0.5"], "otlp_endpoint"),
    ],
)
def test_faulty_flags(models, args, text):
    ended = run_binary("--model_name", "dummy", "--model_path", models / "dummy", "--port", "auto", *args)
    assert ended.returncode == 64
    assert text in ended.stderr
