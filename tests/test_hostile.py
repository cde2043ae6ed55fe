"""What nobody should send. Whatever comes, the server refuses it in an orderly way, keeps its memory and goes on serving."""

import gzip
import http.client
import json
import pathlib
import random
import resource
import socket
import struct
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from clients import KserveGrpc, KserveRestBinary, TfsGrpc, rpc, tensor
from harness import Server, sanitized, wait_until
from openapi import Api

API = Api()
TEN = np.zeros((1, 10), np.float32)
BODY = {"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}]}
LIMIT = 1 << 20
MIB = 1 << 20


@pytest.fixture(scope="module")
def strict(models, tmp_path_factory):
    """Small limits and short times."""
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    args += ["--max_body_bytes", LIMIT, "--grpc_max_message_bytes", LIMIT]
    args += ["--header_timeout_ms", 1000, "--body_timeout_ms", 1000, "--max_connections", 200]
    with Server(tmp_path_factory.mktemp("strict"), *args) as server:
        yield server


@pytest.fixture(scope="module")
def lenient(models, tmp_path_factory):
    """The limits that the server has by itself."""
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    with Server(tmp_path_factory.mktemp("lenient"), *args) as server:
        yield server


def serves(server):
    assert server.http("POST", "/v2/models/dummy/infer", BODY, timeout_s=10).code == 200
    front_end = KserveGrpc(server)
    try:
        assert front_end.infer("dummy", [tensor("b", "FP32", TEN)]).ok
    finally:
        front_end.close()


@pytest.fixture(autouse=True)
def still_serves(request):
    yield
    for name in ("strict", "lenient"):
        if name in request.fixturenames:
            serves(request.getfixturevalue(name))


def connect(address, timeout_s=10):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def read_all(connection):
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received


def exchange(address, data, end=False):
    """What comes back until the server closes. `end`: the client says that it has nothing more."""
    with connect(address) as connection:
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return read_all(connection)


def refused(answer, *codes):
    """An answer with one of the codes, or a connection closed without a word."""
    if answer:
        assert answer.startswith(b"HTTP/1.1 "), answer[:200]
        assert int(answer.split(b" ", 2)[1]) in codes, answer[:300]


def post(length, *headers, path="/v2/models/dummy/infer"):
    lines = [f"POST {path} HTTP/1.1", "Host: x", *([f"Content-Length: {length}"] if length is not None else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


# --- HTTP ---


BAD_HTTP = {
    "garbage": bytes(range(1, 256)) * 4 + b"\r\n\r\n",
    "zeros": b"\0" * 2000 + b"\r\n\r\n",
    "no_version": b"GET /v2\r\n\r\n",
    "unknown_version": b"GET /v2 HTTP/7.7\r\n\r\n",
    "space_in_a_header_name": b"GET /v2 HTTP/1.1\r\nHo st: x\r\n\r\n",
    "header_without_colon": b"GET /v2 HTTP/1.1\r\nHost\r\n\r\n",
    "length_negative": post(-1),
    "length_no_number": post("ten"),
    "length_beyond_64_bits": post("9" * 40),
    "two_lengths": post(10, "Content-Length: 11"),
    "length_and_chunks": post(10, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "unknown_transfer_encoding": post(None, "Transfer-Encoding: sepia"),
    "bad_chunk_size": post(None, "Transfer-Encoding: chunked") + b"zz\r\n",
    "chunk_size_beyond_64_bits": post(None, "Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n",
    "chunk_size_near_the_top": post(None, "Transfer-Encoding: chunked") + b"ffffffffffffffff\r\nabc",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "line_of_64_kib": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n\r\n",
    "header_of_1_mib": b"GET /v2 HTTP/1.1\r\nX: " + b"a" * MIB + b"\r\n\r\n",
    "many_headers": b"GET /v2 HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(20000)) + b"\r\n",
}


@pytest.mark.parametrize("name", BAD_HTTP)
def test_what_is_no_http(strict, name):
    refused(exchange(strict.rest, BAD_HTTP[name], end=True), 400, 404, 405, 411, 413, 414, 431, 501, 505)


OF_EVERY_ROUTE = {
    "400": b"GET /v2 HTTP/1.1\r\n\r\n",
    "408": post(100) + b"{",
    "413": post(LIMIT + 1),
    "417": post(10, "Expect: sepia"),
    "431": b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65536 + b"\r\n\r\n",
    "501": post(None, "Transfer-Encoding: gzip, chunked"),
    "505": b"GET /v2 HTTP/7.7\r\n\r\n",
}


@pytest.mark.parametrize("code", OF_EVERY_ROUTE)
def test_codes_of_every_route_are_those_of_the_contract(strict, code):
    head, _, body = exchange(strict.rest, OF_EVERY_ROUTE[code]).partition(b"\r\n\r\n")
    assert head.split(b" ")[1].decode() == code, head
    assert code in API.codes_of_every_route()
    API.check("Error", json.loads(body))


def test_body_beyond_the_limit(strict):
    """Said by its length, it is refused before it is sent; said by nothing, when it gets there."""
    refused(exchange(strict.rest, post(LIMIT + 1)), 413)
    refused(exchange(strict.rest, post(1 << 62)), 413)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    refused(exchange(strict.rest, post(None, "Transfer-Encoding: chunked") + chunk * 20), 413)
    answer = strict.http("POST", "/v2/models/dummy/infer", b" " * (LIMIT + 1))
    assert answer.code == 413 and answer.error


def test_body_at_the_limit(strict):
    body = json.dumps(BODY).encode()
    assert strict.http("POST", "/v2/models/dummy/infer", body + b" " * (LIMIT - len(body))).code == 200


def test_body_that_ends_early(strict):
    body = json.dumps(BODY).encode()
    for cut in (0, 1, len(body) - 1):
        refused(exchange(strict.rest, post(len(body)) + body[:cut], end=True), 400, 408)


def test_body_that_never_comes(strict):
    """The time between two bytes has an end."""
    started = time.monotonic()
    refused(exchange(strict.rest, post(100) + b"{"), 408)
    assert 0.5 < time.monotonic() - started < 8


def test_header_that_never_ends(strict):
    started = time.monotonic()
    refused(exchange(strict.rest, b"POST /v2/models/dummy/infer HTTP/1.1\r\nHost: x\r\n"), 408)
    assert 0.5 < time.monotonic() - started < 8


def test_header_that_comes_drop_by_drop(strict):
    """Each drop is in time; the header is not."""
    started = time.monotonic()
    with connect(strict.rest) as connection:
        try:
            while time.monotonic() - started < 6:
                connection.sendall(b"a")
                time.sleep(0.1)
            pytest.fail("the connection was never closed")
        except ConnectionError:
            pass


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_bomb(strict, encoding):
    import zlib

    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](b" " * (200 * MIB), 9)
    assert len(packed) < LIMIT
    before = strict.resident_bytes()
    answer = strict.http("POST", "/v2/models/dummy/infer", packed, {"Content-Encoding": encoding})
    assert answer.code == 413 and answer.error
    assert strict.resident_bytes() - before < 50 * MIB


def test_compression_in_compression(strict):
    packed = gzip.compress(gzip.compress(json.dumps(BODY).encode()))
    assert strict.http("POST", "/v2/models/dummy/infer", packed, {"Content-Encoding": "gzip"}).code == 400
    headers = {"Content-Encoding": "gzip, gzip"}
    assert strict.http("POST", "/v2/models/dummy/infer", packed, headers).code in (200, 400, 415)


def test_more_connections_than_allowed(strict):
    """The ones above the limit are turned away; those below it stay served."""
    with connect(strict.rest) as first:
        others = []
        try:
            for _ in range(260):
                others.append(connect(strict.rest))
            body = json.dumps(BODY).encode()
            first.sendall(post(len(body)) + body)
            assert first.recv(65536).startswith(b"HTTP/1.1 200")
        finally:
            for connection in others:
                connection.close()

    def again():
        try:
            return strict.http("GET", "/v2/health/live", timeout_s=2).code == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_until(again, 10, "a free place")


def test_thousands_of_half_requests(lenient):
    """2000 clients promise a gigabyte each, send a little and wait. A client that means it is served at once, and no memory is
    taken for promises."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    before = lenient.resident_bytes()
    held = []
    try:
        halves = [post(1 << 30) + b'{"inputs":', post(1 << 30)[:-2], b"POST /v2/mod", post(100) + b"x" * 99]
        halves += [post(None, "Transfer-Encoding: chunked") + b"3fffffff\r\nab"]
        for index in range(count):
            connection = connect(lenient.rest)
            connection.sendall(halves[index % len(halves)])
            held.append(connection)
        slowest = 0.0
        for _ in range(30):
            started = time.monotonic()
            serves(lenient)
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2
        assert lenient.resident_bytes() - before < 150 * MIB
    finally:
        for connection in held:
            connection.close()


@pytest.mark.skipif(sanitized(), reason="sanitizers take address space for themselves")
def test_more_than_the_memory_holds(models, tmp_path):
    """A body, and an answer, for which the system has no memory: an error of that call, over REST as over gRPC."""
    values = np.zeros(8_000_000, np.float32)
    with Server(tmp_path, "--model_name", "p", "--model_path", models / "passthrough_fp32", "--target_device", "CPU") as server:
        small = {"inputs": [{"name": "data", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
        assert server.http("POST", "/v2/models/p/infer", small).code == 200
        size = int(pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        place = {"binary_data_size": values.nbytes}
        inputs = [{"name": "data", "shape": [1, values.size], "datatype": "FP32", "parameters": place}]
        head = json.dumps({"inputs": inputs}).encode()
        for slack in (8, 20, 100, 150):
            limit = (size + slack * MIB, resource.RLIM_INFINITY)
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, limit)
            try:
                headers = {"Inference-Header-Content-Length": str(len(head))}
                code = server.http("POST", "/v2/models/p/infer", head + values.tobytes(), headers).code
                assert code in (200, 500, 503) and (code != 200 or slack > 20)
            except (OSError, http.client.HTTPException):
                pass
            resource.prlimit(server.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert server.http("POST", "/v2/models/p/infer", small).code == 200


@pytest.mark.skipif(sanitized(), reason="sanitizers take address space for themselves")
def test_json_for_which_the_memory_is_short(models, tmp_path):
    """There is memory for the body, but not for the tables of what reads it: 503, since nothing was wrong with the request."""
    with Server(tmp_path, "--model_name", "d", "--model_path", models / "dummy", "--target_device", "CPU") as server:
        assert server.http("POST", "/v2/models/d/infer", BODY).code == 200
        body = json.dumps(BODY).encode() + b" " * (24 * MIB)
        size = int(pathlib.Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (size + 120 * MIB, resource.RLIM_INFINITY))
        answer = server.http("POST", "/v2/models/d/infer", body)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert answer.code == 503 and f"memory to read {len(body)} bytes of JSON" in answer.error, answer
        assert server.http("POST", "/v2/models/d/infer", body).code == 200


def test_a_gigabyte_promised_and_some_of_it_sent(lenient):
    """Memory follows what has arrived."""
    before = lenient.resident_bytes()
    held = [connect(lenient.rest) for _ in range(8)]
    try:
        for connection in held:
            connection.sendall(post(1 << 30) + b"x" * MIB)
        time.sleep(0.3)
        assert lenient.resident_bytes() - before < 100 * MIB
    finally:
        for connection in held:
            connection.close()


# --- gRPC ---


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


SETTINGS = frame(4, 0, 0, b"")

BAD_HTTP2 = {
    "garbage": bytes(range(256)) * 8,
    "http1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "preface_and_garbage": PREFACE + bytes(range(256)) * 8,
    "frame_of_16_mib": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 65536,
    "data_on_no_stream": PREFACE + SETTINGS + frame(0, 1, 1, b"x" * 100),
    "bad_header_block": PREFACE + SETTINGS + frame(1, 5, 1, b"\xff" * 200),
    "settings_of_an_odd_size": PREFACE + frame(4, 0, 0, b"abc"),
    "window_update_of_zero": PREFACE + SETTINGS + frame(8, 0, 0, bytes(4)),
    "unknown_frames": PREFACE + SETTINGS + frame(77, 0, 0, b"hello") * 1000,
    "ten_thousand_pings": PREFACE + SETTINGS + frame(6, 0, 0, bytes(8)) * 10000,
    "resets": PREFACE + SETTINGS + frame(3, 0, 1, bytes(4)) * 1000,
}


@pytest.mark.parametrize("name", BAD_HTTP2)
def test_garbage_on_the_grpc_port(strict, name):
    with connect(strict.grpc, timeout_s=0.5) as connection:
        try:
            connection.sendall(BAD_HTTP2[name])
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        except OSError:
            pass


def test_grpc_connections_that_say_nothing(strict):
    held = [connect(strict.grpc) for _ in range(300)]
    for connection in held[::2]:
        connection.sendall(PREFACE)
    serves(strict)
    for connection in held:
        connection.close()


def test_grpc_message_beyond_the_limit(strict):
    front_end = KserveGrpc(strict)
    request = front_end.request("dummy", [tensor("b", "FP32", np.zeros((1, LIMIT // 4 + 100), np.float32))])
    _, outcome = rpc(front_end.stub.ModelInfer, request)
    assert outcome.code == "RESOURCE_EXHAUSTED", outcome
    _, outcome = rpc(front_end.stub.ModelInfer, request, compression=grpc.Compression.Gzip)
    assert outcome.code == "RESOURCE_EXHAUSTED", outcome
    front_end.close()


def test_grpc_frame_length_that_lies(strict):
    """A message header that promises more than there is, or that says compressed where nothing is."""
    with grpc.insecure_channel(strict.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        assert rpc(call, b"\x3a\xff\xff\xff\xff\x0f")[1].code == "INVALID_ARGUMENT"
        assert rpc(call, b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")[1].code == "INVALID_ARGUMENT"


def test_nested_protobuf(strict):
    """Groups within groups, deeper than any reader should follow."""
    with grpc.insecure_channel(strict.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        assert rpc(call, b"\x9b\x06" * 100_000)[1].code == "INVALID_ARGUMENT"
        _, outcome = rpc(call, b"\x9b\x06" * 50_000 + b"\x9c\x06" * 50_000)
        assert outcome.code in ("INVALID_ARGUMENT", "NOT_FOUND")


# --- tensors ---


HUGE = [2**31, 2**32, 2**40, 2**62, 2**63 - 1]


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize(
    "model,name,datatype",
    [
        ("passthrough_fp32", "data", "FP32"),
        ("passthrough_bytes", "data", "BYTES"),
        ("passthrough_bool", "data", "BOOL"),
        ("dynamic_batch", "b", "FP32"),
    ],
)
def test_sizes_that_no_memory_has(server, model, name, datatype, size):
    """Small messages that speak of huge tensors: refused, and nothing is reserved for them."""
    before = server.resident_bytes()
    for shape in ([size, 1], [1, size], [size, size], [size, 0], [0, size]):
        entry = {"name": name, "datatype": datatype, "shape": shape}
        for body in ({"inputs": [{**entry, "data": []}]}, {"inputs": [{**entry, "parameters": {"binary_data_size": 0}}]}):
            answer = server.http("POST", f"/v2/models/{model}/infer", body)
            assert answer.code in (200, 400), answer
            assert answer.code == 400 or 0 in shape, answer
        request = pb.ModelInferRequest(model_name=model)
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        for raw in (True, False):
            if raw:
                request.raw_input_contents.append(b"")
            else:
                del request.raw_input_contents[:]
            with grpc.insecure_channel(server.grpc) as channel:
                call = channel.unary_unary(
                    "/inference.GRPCInferenceService/ModelInfer",
                    pb.ModelInferRequest.SerializeToString,
                    pb.ModelInferResponse.FromString,
                )
                response, outcome = rpc(call, request)
            assert outcome is None and 0 in shape or outcome.code == "INVALID_ARGUMENT", (shape, outcome)
    assert server.resident_bytes() - before < 50 * MIB


def test_one_value_for_a_tensor_that_no_memory_has(server):
    """TensorFlow's one value that fills a tensor must not fill the memory."""
    front_end = TfsGrpc(server)
    before = server.resident_bytes()
    for shape in ((2**40, 1), (2**31, 2**31), (2**20, 2**16)):
        request = front_end.request("passthrough_fp32", [tensor("data", "FP32", [[1.0]])])
        message = request.inputs["data"]
        message.ClearField("tensor_content")
        message.float_val.append(1.0)
        for dim, size in zip(message.tensor_shape.dim, shape, strict=True):
            dim.size = size
        _, outcome = rpc(front_end.stub.Predict, request)
        assert outcome is not None and outcome.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"), outcome
    front_end.close()
    assert server.resident_bytes() - before < 300 * MIB


def test_tensor_of_very_many_dimensions(server):
    body = {"inputs": [{"name": "b", "datatype": "FP32", "shape": [1] * 20000, "data": [0.0]}]}
    assert server.http("POST", "/v2/models/dummy/infer", body).code == 400
    request = pb.ModelInferRequest(model_name="dummy", raw_input_contents=[bytes(4)])
    request.inputs.add(name="b", datatype="FP32", shape=[1] * 20000)
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", pb.ModelInferRequest.SerializeToString)
        assert rpc(call, request)[1].code == "INVALID_ARGUMENT"


def test_very_many_inputs(server):
    entry = {"name": "b", "datatype": "FP32", "shape": [1], "data": [0]}
    answer = server.http("POST", "/v2/models/dummy/infer", {"inputs": [entry] * 50000})
    assert answer.code == 400 and len(answer.body) < 20_000


def test_long_names_fit_into_the_answer(server):
    """gRPC's clients refuse trailers of more than some kilobytes: what the caller wrote is not repeated without end."""
    long = "n" * 100_000
    front_end = KserveGrpc(server)
    data = np.zeros((1, 10), np.float32)
    assert front_end.infer(long, [tensor("b", "FP32", data)]).code == "NOT_FOUND"
    assert front_end.infer("dummy", [tensor(long, "FP32", data)]).code == "INVALID_ARGUMENT"
    assert front_end.infer("dummy", [tensor("b", "FP32", data)], outputs=[long]).code == "INVALID_ARGUMENT"
    assert front_end.infer("dummy", [tensor("b", "FP32", data)], version="9" * 100_000).code in (
        "INVALID_ARGUMENT",
        "NOT_FOUND",
    )
    assert front_end.infer("dummy", [tensor("b", "FP32", data)] * 5000).code == "INVALID_ARGUMENT"
    assert front_end.infer("dummy", [tensor("b", "FP32", data.reshape([1] * 30 + [10]))]).code == "INVALID_ARGUMENT"
    front_end.close()
    tfs = TfsGrpc(server)
    assert tfs.infer(long, [tensor("b", "FP32", data)]).code == "NOT_FOUND"
    assert tfs.infer("dummy", [tensor(long, "FP32", data)]).code == "INVALID_ARGUMENT"
    assert tfs.infer("dummy", [tensor("b", "FP32", data)], outputs=[long]).code == "INVALID_ARGUMENT"
    assert tfs.status(long)[0].code == "NOT_FOUND"
    tfs.close()
    assert server.http("GET", f"/v2/models/{'n' * 5000}").code == 404


def test_names_with_control_characters(server):
    """A message that quotes the caller's bytes is still a message: UTF-8, and JSON."""
    name = "a\r\nX-Injected: 1\x00\x7f\u2028\ud55c"
    answer = server.http("POST", "/v2/models/dummy/infer", {"inputs": [{**BODY["inputs"][0], "name": name}]})
    assert answer.code == 400 and answer.error and "x-injected" not in answer.headers
    front_end = KserveGrpc(server)
    outcome = front_end.infer(name, [tensor("b", "FP32", TEN)])
    assert outcome.code == "NOT_FOUND", outcome
    front_end.close()


# --- mutations ---


def mutate(data, random_source):
    """One to four small faults."""
    data = bytearray(data)
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randrange(len(data)) if data else 0
        kind = random_source.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << random_source.randrange(8)
        elif kind == 1 and data:
            data[at] = random_source.randrange(256)
        elif kind == 2:
            data[at:at] = bytes(random_source.randrange(256) for _ in range(random_source.randint(1, 8)))
        elif kind == 3:
            del data[at : at + random_source.randint(1, 12)]
        elif kind == 4:
            del data[at:]
        else:
            data[at : at + 8] = random_source.choice([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"null"])
    return bytes(data)


SEEDS = {
    "kserve_json": ("/v2/models/add_two_inputs/infer", {"inputs": [
        {"name": "input1", "shape": [1, 10], "datatype": "FP32", "data": list(range(10))},
        {"name": "input2", "shape": [1, 10], "datatype": "FP32", "data": [[0.5] * 10]}],
        "outputs": [{"name": "sum", "parameters": {"binary_data": True}}], "id": "x", "parameters": {"priority": 1}}),
    "kserve_strings": ("/v2/models/passthrough_string/infer", {"inputs": [
        {"name": "my_name", "shape": [2], "datatype": "BYTES", "data": ["a\u00e4\n", ""]}]}),
    "tfs_rows": ("/v1/models/add_two_inputs:predict", {"instances": [{"input1": [1] * 10, "input2": [0.5] * 10}]}),
    "tfs_columns": ("/v1/models/passthrough_string:predict", {"inputs": {"my_name": [{"b64": "YWJj"}, "x"]}}),
}  # fmt: skip


def check_http(connection, path, body, headers):
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.status in (200, 400, 404, 413, 415), (response.status, answer[:300], body)
    if response.status != 200:
        assert list(json.loads(answer)) == ["error"]


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_json(server, name):
    source = random.Random(name)
    path, document = SEEDS[name]
    body = json.dumps(document).encode()
    connection = http.client.HTTPConnection(server.rest, timeout=20)
    for _ in range(400):
        check_http(connection, path, mutate(body, source), {})
    connection.close()


def test_mutated_binary_requests(server):
    source = random.Random("binary")
    body, headers = KserveRestBinary(server).body([tensor("input1", "FP32", TEN), tensor("input2", "FP32", TEN)], ["sum"])
    connection = http.client.HTTPConnection(server.rest, timeout=20)
    for index in range(400):
        sent = dict(headers)
        if index % 3 == 0:
            sent["Inference-Header-Content-Length"] = str(source.randrange(len(body) + 50))
        check_http(connection, "/v2/models/add_two_inputs/infer", mutate(body, source) if index % 3 else body, sent)
    connection.close()


def messages(server):
    two = [tensor("input1", "FP32", TEN), tensor("input2", "FP32", TEN)]
    text = [tensor("my_name", "BYTES", [b"abc", b""])]
    kserve, tfs = KserveGrpc(server), TfsGrpc(server)
    yield "inference.GRPCInferenceService/ModelInfer", kserve.request("add_two_inputs", two, outputs=["sum"])
    yield "inference.GRPCInferenceService/ModelInfer", kserve.request("passthrough_string", text)
    yield "tensorflow.serving.PredictionService/Predict", tfs.request("add_two_inputs", two, "1", ["sum"])
    yield "tensorflow.serving.PredictionService/Predict", tfs.request("passthrough_string", text)
    kserve.close()
    tfs.close()


def test_mutated_messages(server):
    source = random.Random("messages")
    allowed = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED"}
    with grpc.insecure_channel(server.grpc) as channel:
        for method, request in messages(server):
            body = request.SerializeToString()
            call = channel.unary_unary(f"/{method}")
            for _ in range(500):
                mutated = mutate(body, source)
                _, outcome = rpc(call, mutated)
                assert outcome is None or outcome.code in allowed, (method, mutated, outcome)


def test_mutated_stream(server):
    source = random.Random("stream")
    front_end = KserveGrpc(server)
    body = front_end.request("dummy", [tensor("b", "FP32", TEN)]).SerializeToString()
    call = front_end.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    for _ in range(20):
        try:
            answers = list(call(iter([mutate(body, source) for _ in range(30)]), timeout=30))
            assert len(answers) == 30
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    front_end.close()
