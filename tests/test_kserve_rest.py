"""KServe v2 over REST: what its JSON and its binary extension may look like, and what is said of the rest."""

import gzip
import json
import re
import socket
import zlib

import numpy as np
import pytest

from clients import KserveRest, unpack_strings
from harness import http_call

TEN = [float(i) for i in range(10)]
DUMMY = {"name": "b", "datatype": "FP32", "shape": [1, 10], "data": TEN}


@pytest.fixture(scope="module")
def post(server):
    def call(body, path="/v2/models/dummy/infer", headers=None):
        return server.http("POST", path, body, headers)

    return call


def infer(**changes):
    """A good request with the first input's keys changed; a key of None is left out."""
    entry = {**DUMMY, **changes}
    return {"inputs": [{key: value for key, value in entry.items() if value is not None}]}


def binary(document, tail, header=None):
    head = json.dumps(document).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head)) if header is None else header}


def binary_dummy(size=40, **more):
    entry = {"name": "b", "datatype": "FP32", "shape": [1, 10]}
    if size is not None:
        entry["parameters"] = {"binary_data_size": size}
    return {"inputs": [entry], **more}


RAW = np.arange(10, dtype=np.float32).tobytes()


def test_health_and_metadata(server):
    # By which KServe's own Python client tells.
    for path, told in (("/v2/health/live", {"live": True}), ("/v2/health/ready", {"ready": True})):
        answer = server.http("GET", path)
        assert answer.code == 200 and answer.json() == told
    document = server.http("GET", "/v2").json()
    assert document["name"] and document["version"] and "binary_tensor_data" in document["extensions"]
    assert server.http("GET", "/v2/models/dummy/ready").code == 200
    assert server.http("GET", "/v2/models/dummy/versions/1/ready").code == 200
    assert server.http("GET", "/v2/models/no_such_model/ready").code == 404
    assert server.http("GET", "/v2/models/dummy/versions/9/ready").code == 404
    answer = server.http("GET", "/v2/models/broken/ready")
    assert answer.code == 503 and answer.error


@pytest.mark.parametrize("path", ["/v2/models/dummy", "/v2/models/dummy/"])
def test_model_metadata(server, path):
    document = server.http("GET", path).json()
    assert document["name"] == "dummy" and document["versions"] == ["1"] and document["platform"]
    assert document["inputs"] == [{"name": "b", "datatype": "FP32", "shape": [1, 10]}]
    assert "rt_info" not in document


def test_what_a_model_says_of_itself(server):
    """As OpenVINO's Model API reads it."""
    info = server.http("GET", "/v2/models/two_outputs").json()["rt_info"]
    assert info == {"model_info": {"labels": "cat dog", "confidence_threshold": "0.5", "more": {"deep": "1"}}}


@pytest.mark.parametrize(
    "data",
    [TEN, [TEN], [[value] for value in TEN], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ids=["flat", "nested", "nested_in_another_way", "integers"],
)
def test_data_may_be_nested(post, data):
    document = post(infer(data=data)).json()
    assert document["model_name"] == "dummy" and document["model_version"] == "1" and "id" not in document
    assert document["outputs"] == [{"name": "a", "datatype": "FP32", "shape": [1, 10], "data": [v + 1 for v in TEN]}]


def test_id_is_returned_and_unknown_keys_are_ignored(post):
    document = post({**infer(), "id": "my call", "model_name": "other", "parameters": {"priority": 3, "x": "y"}}).json()
    assert document["id"] == "my call" and document["model_name"] == "dummy"


BAD_JSON = {
    "empty": b"",
    "not_json": b"{inputs: 3}",
    "cut_off": json.dumps(infer()).encode()[:-4],
    "something_behind": json.dumps(infer()).encode() + b"{}",
    "not_utf8": json.dumps(infer(name="@@")).encode().replace(b"@@", b"\xff\xfe"),
    "array": [],
    "number": b"3",
    "no_inputs": {},
    "inputs_empty": {"inputs": []},
    "inputs_no_array": {"inputs": {"b": 1}},
    "input_no_object": {"inputs": [3]},
    "no_name": infer(name=None),
    "name_no_string": infer(name=3),
    "no_shape": infer(shape=None),
    "shape_no_array": infer(shape=10),
    "shape_of_strings": infer(shape=["1", "10"]),
    "shape_of_fractions": infer(shape=[1.5, 10]),
    "shape_beyond_int64": infer(shape=[1, 2**63]),
    "shape_negative": infer(shape=[-1, 10]),
    "no_datatype": infer(datatype=None),
    "datatype_no_string": infer(datatype=32),
    "datatype_unknown": infer(datatype="FP33"),
    "no_data": infer(data=None),
    "data_no_array": infer(data="0123456789"),
    "data_of_strings": infer(data=["0"] * 10),
    "data_of_booleans": infer(data=[True] * 10),
    "data_of_nulls": infer(data=[None] * 10),
    "data_of_objects": infer(data=[{}] * 10),
    "data_beyond_the_type": infer(data=[1e300] + TEN[1:]),
    "too_little_data": infer(data=TEN[:9]),
    "too_much_data": infer(data=TEN + [1.0]),
    "id_no_string": {**infer(), "id": 3},
    "parameters_no_object": {**infer(), "parameters": [1]},
    "input_parameters_no_object": infer(parameters=3),
    "outputs_no_array": {**infer(), "outputs": "a"},
    "output_no_object": {**infer(), "outputs": ["a"]},
    "output_without_name": {**infer(), "outputs": [{}]},
    "output_unknown": {**infer(), "outputs": [{"name": "z"}]},
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_no_request_is_refused(post, body):
    answer = post(body)
    assert answer.code == 400, answer
    assert answer.error
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("body", [{}, {"inputs": []}, {"outputs": [{"name": "c"}]}])
def test_a_model_without_inputs_needs_none(server, body):
    answer = server.http("POST", "/v2/models/no_inputs/infer", body)
    assert answer.code == 200, answer
    assert answer.json()["outputs"][0]["data"] == [0, 1, 2, 3]


def test_null_is_taken_for_left_out(server, post):
    """As KServe's own Python client writes what it does not say."""
    nothing = {"id": None, "parameters": None, "outputs": None}
    answer = post({"inputs": [{**DUMMY, "parameters": None}], **nothing})
    assert answer.code == 200 and answer.json()["outputs"][0]["data"] == [v + 1 for v in TEN], answer
    entry = {"name": "b", "datatype": "FP32", "shape": [1, 10], "data": None, "parameters": {"binary_data_size": 40}}
    body, headers = binary({"inputs": [entry], **nothing}, RAW)
    answer = post(body, headers=headers)
    assert answer.code == 200 and answer.json()["outputs"][0]["data"] == [v + 1 for v in TEN], answer
    entry = {**entry, "shape": [0, 10], "parameters": {"binary_data_size": 0}}
    answer = server.http("POST", "/v2/models/dynamic_batch/infer", {"inputs": [entry], **nothing})
    assert answer.code == 200 and answer.json()["outputs"][0]["shape"] == [0, 10], answer


def test_timeout_and_priority_as_text(post):
    assert post({**infer(), "parameters": {"timeout": "5000000", "priority": "1"}}).code == 200
    for parameters in ({"timeout": "soon"}, {"priority": "-1"}):
        answer = post({**infer(), "parameters": parameters})
        assert answer.code == 400 and list(parameters)[0] in answer.error, answer


@pytest.mark.parametrize("depth", [101, 100_000])
def test_deep_json_is_refused(post, depth):
    answer = post(b'{"inputs":' + b"[" * depth + b"]" * depth + b"}")
    assert answer.code == 400 and answer.error
    assert post(infer()).code == 200


@pytest.mark.parametrize(
    "model,datatype,data,code",
    [
        ("passthrough_int8", "INT8", [128], 400),
        ("passthrough_uint8", "UINT8", [-1], 400),
        ("passthrough_uint16", "UINT16", [65536], 400),
        ("passthrough_int32", "INT32", [2**31], 400),
        ("passthrough_int32", "INT32", [1.5], 400),
        ("passthrough_uint64", "UINT64", [2**64], 400),
        ("passthrough_uint64", "UINT64", [-1], 400),
        ("passthrough_bool", "BOOL", [1], 200),
        ("passthrough_int64", "INT64", [-(2**63)], 200),
        ("passthrough_int64", "INT64", [2**63 - 1], 200),
        ("passthrough_int64", "INT64", [2**63], 400),
        ("passthrough_uint64", "UINT64", [2**64 - 1], 200),
    ],
)
def test_numbers_at_the_edges_of_their_type(post, model, datatype, data, code):
    body = {"inputs": [{"name": "data", "datatype": datatype, "shape": [1, 1], "data": data}]}
    answer = post(body, f"/v2/models/{model}/infer")
    if datatype == "BOOL":
        assert answer.code in (200, 400), answer
        return
    assert answer.code == code, answer
    if code == 200:
        assert answer.json()["outputs"][0]["data"] == data


def test_not_a_number_and_infinity_in_json(post):
    """Special values have no JSON of their own; what the server writes for them, it also reads."""
    values = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    body, headers = binary(
        {"inputs": [{"name": "data", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}]},
        values.tobytes(),
    )
    answer = post(body, "/v2/models/passthrough_fp32/infer", headers)
    assert answer.code == 200, answer
    written = answer.json()["outputs"][0]["data"]
    again = {"inputs": [{"name": "data", "datatype": "FP32", "shape": [1, 3], "data": written}]}
    answer = post(again, "/v2/models/passthrough_fp32/infer")
    assert answer.code == 200, answer
    assert np.array([float(v) for v in answer.json()["outputs"][0]["data"]])[1:].tolist() == [np.inf, -np.inf]
    assert np.isnan(float(answer.json()["outputs"][0]["data"][0]))


def test_a_bare_word_is_no_text(post):
    texts = b'{"inputs":[{"name":"my_name","datatype":"BYTES","shape":[1],"data":[%s]}]}'
    assert post(texts % b'"NaN"', "/v2/models/passthrough_string/infer").json()["outputs"][0]["data"] == ["NaN"]
    answer = post(texts % b"NaN", "/v2/models/passthrough_string/infer")
    assert answer.code == 400 and "NaN (number) is not a value of BYTES" in answer.error, answer
    body = json.dumps(infer()).encode()
    for faulty in (b'{"id":NaN,' + body[1:], b"{NaN:1," + body[1:]):
        assert post(faulty).code == 400, faulty


def test_strings_with_every_kind_of_character(post):
    texts = ["", 'quote " backslash \\ slash /', "line\nbreak\ttab\x00zero", "späť 漢字 \U0001f600"]
    body = {"inputs": [{"name": "my_name", "datatype": "BYTES", "shape": [4], "data": texts}]}
    assert post(body, "/v2/models/passthrough_string/infer").json()["outputs"][0]["data"] == texts


# --- the binary extension ---


@pytest.mark.parametrize("explicit", [True, False], ids=["size_given", "size_from_the_shape"])
def test_binary_input(post, explicit):
    body, headers = binary(binary_dummy(40 if explicit else None), RAW)
    answer = post(body, headers=headers)
    assert answer.code == 200, answer
    assert "inference-header-content-length" not in answer.headers
    assert answer.json()["outputs"][0]["data"] == [v + 1 for v in TEN]


@pytest.mark.parametrize(
    "outputs,parameters,expected",
    [
        (None, {"binary_data_output": True}, {"doubled": True, "total": True}),
        (None, {"binary_data_output": False}, {"doubled": False, "total": False}),
        ([{"name": "total"}], {"binary_data_output": True}, {"total": True}),
        (
            [{"name": "doubled", "parameters": {"binary_data": True}}, {"name": "total"}],
            None,
            {"doubled": True, "total": False},
        ),
        (
            [{"name": "doubled"}, {"name": "total", "parameters": {"binary_data": True}}],
            None,
            {"doubled": False, "total": True},
        ),
        (
            [{"name": "doubled", "parameters": {"binary_data": False}}, {"name": "total"}],
            {"binary_data_output": True},
            {"doubled": False, "total": True},
        ),
        ([{"name": "total"}, {"name": "doubled"}], None, {"total": False, "doubled": False}),
    ],
)
def test_outputs_are_binary_where_asked(post, outputs, parameters, expected):
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": x.reshape(-1).tolist()}]}
    if outputs is not None:
        body["outputs"] = outputs
    if parameters is not None:
        body["parameters"] = parameters
    answer = post(body, "/v2/models/two_outputs/infer")
    assert answer.code == 200, answer
    size = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    document = json.loads(answer.body[:size])
    assert {item["name"]: "data" not in item for item in document["outputs"]} == expected
    assert [item["name"] for item in document["outputs"]] == list(expected)
    found = KserveRest.outcome(answer).outputs
    wanted = {"doubled": x * 2, "total": x.sum(1, keepdims=True)}
    for name in expected:
        assert np.array_equal(found[name].data, wanted[name])


def test_json_and_binary_inputs_in_one_request(post):
    for first_is_binary in (True, False):
        entries = []
        for name, is_binary in (("input1", first_is_binary), ("input2", not first_is_binary)):
            entry = {"name": name, "datatype": "FP32", "shape": [1, 10]}
            entry.update({"parameters": {"binary_data_size": 40}} if is_binary else {"data": TEN})
            entries.append(entry)
        body, headers = binary({"inputs": entries}, RAW)
        answer = post(body, "/v2/models/add_two_inputs/infer", headers)
        assert answer.code == 200, answer
        assert answer.json()["outputs"][0]["data"] == [v * 2 for v in TEN]


def test_binary_strings(post):
    items = [b"", b"\x00\xff\xfe", "ä".encode()]
    raw = b"".join(len(item).to_bytes(4, "little") + item for item in items)
    entry = {"name": "my_name", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(raw)}}
    body, headers = binary({"inputs": [entry], "parameters": {"binary_data_output": True}}, raw)
    answer = post(body, "/v2/models/passthrough_string/infer", headers)
    assert answer.code == 200, answer
    assert unpack_strings(answer.body[int(answer.headers["inference-header-content-length"]) :]) == items


def strings(raw, size=None, shape=(2,)):
    entry = {"name": "my_name", "datatype": "BYTES", "shape": list(shape)}
    entry["parameters"] = {"binary_data_size": len(raw) if size is None else size}
    return binary({"inputs": [entry]}, raw)


BAD_BINARY = {
    "header_negative": ("dummy", binary(binary_dummy(), RAW, "-1")),
    "header_no_number": ("dummy", binary(binary_dummy(), RAW, "many")),
    "header_with_a_tail": ("dummy", binary(binary_dummy(), RAW, "12x")),
    "header_beyond_64_bits": ("dummy", binary(binary_dummy(), RAW, "9" * 30)),
    "header_beyond_the_body": ("dummy", binary(binary_dummy(), RAW, "100000")),
    "header_zero": ("dummy", binary(binary_dummy(), RAW, "0")),
    "header_too_short": ("dummy", binary(binary_dummy(), RAW, "20")),
    "header_too_long": ("dummy", binary(binary_dummy(), RAW, str(len(json.dumps(binary_dummy())) + 4))),
    "size_negative": ("dummy", binary(binary_dummy(-1), RAW)),
    "size_no_number": ("dummy", binary(binary_dummy("40"), RAW)),
    "size_a_fraction": ("dummy", binary(binary_dummy(40.5), RAW)),
    "size_beyond_the_body": ("dummy", binary(binary_dummy(44), RAW)),
    "size_beyond_64_bits": ("dummy", binary(binary_dummy(2**64), RAW)),
    "size_near_the_top_of_64_bits": ("dummy", binary(binary_dummy(2**63 - 1), RAW)),
    "size_unlike_the_shape": ("dummy", binary(binary_dummy(36), RAW)),
    "body_short": ("dummy", binary(binary_dummy(), RAW[:-1])),
    "body_short_without_size": ("dummy", binary(binary_dummy(None), RAW[:-1])),
    "surplus": ("dummy", binary(binary_dummy(), RAW + b"more")),
    "data_and_binary": (
        "dummy",
        binary({"inputs": [{**DUMMY, "parameters": {"binary_data_size": 40}}]}, RAW),
    ),
    "string_longer_than_the_buffer": ("passthrough_string", strings(b"\x05\0\0\0abc")),
    "string_prefix_cut": ("passthrough_string", strings(b"\x01\0\0\0a\x01\0")),
    "string_prefix_huge": ("passthrough_string", strings(b"\xff\xff\xff\xffab")),
    "fewer_strings_than_the_shape": ("passthrough_string", strings(b"\x01\0\0\0a")),
    "more_strings_than_the_shape": ("passthrough_string", strings(b"\x01\0\0\0a" * 3)),
}


@pytest.mark.parametrize("name", BAD_BINARY)
def test_what_is_no_binary_request_is_refused(post, name):
    model, (body, headers) = BAD_BINARY[name]
    answer = post(body, f"/v2/models/{model}/infer", headers)
    assert answer.code == 400, answer
    assert answer.error


# --- verbs and addresses ---


@pytest.mark.parametrize(
    "method,path",
    [
        ("GET", "/v2/models/dummy/infer"),
        ("POST", "/v2/models/dummy"),
        ("POST", "/v2/health/live"),
        ("POST", "/v2"),
        ("PUT", "/v2/models/dummy/infer"),
        ("DELETE", "/v2/models/dummy"),
        ("GET", "/v1/models/dummy:predict"),
        ("POST", "/v1/models/dummy"),
        ("POST", "/v1/models/dummy/metadata"),
    ],
)
def test_wrong_verb(server, method, path):
    answer = server.http(method, path, b"{}" if method != "GET" else None)
    assert answer.code == 405, answer
    assert answer.error


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v9",
        "/v2/nothing",
        "/v2/models",
        "/v2/models/dummy/versions",
        "/v2/models/dummy/versions/first",
        "/v2/models/dummy/versions/-1",
        "/v2/models/dummy/versions/99999999999999999999",
        "/v2/models/dummy/nothing",
        "/v2/models/../../etc/passwd",
        "/v2/models/%",
        "/v2/models/%zz",
        "/v1/models/dummy/versions/first",
        "/v1/models/dummy/labels",
        "/" + "a" * 4000,
    ],
)
def test_addresses_that_are_nothing(server, path):
    answer = server.http("GET", path)
    assert answer.code in (400, 404), answer
    assert answer.error


def test_percent_encoded_names(server):
    assert server.http("GET", "/v2/models/d%75mmy").code == 200
    assert server.http("GET", "/v2/models/no%20such").code == 404


# --- compression ---


ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress}
DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_compressed_request(post, encoding):
    body = ENCODERS[encoding](json.dumps(infer()).encode())
    answer = post(body, headers={"Content-Encoding": encoding})
    assert answer.code == 200, answer
    assert answer.json()["outputs"][0]["data"] == [v + 1 for v in TEN]


@pytest.mark.parametrize("encoding", ENCODERS)
def test_compressed_binary_request(post, encoding):
    """The header's length is that of the JSON before it was compressed."""
    body, headers = binary(binary_dummy(), RAW)
    answer = post(ENCODERS[encoding](body), headers={**headers, "Content-Encoding": encoding})
    assert answer.code == 200, answer


@pytest.mark.parametrize("encoding", ENCODERS)
def test_compressed_answer(server, encoding):
    count = 4000
    body = {"inputs": [{"name": "data", "datatype": "FP32", "shape": [1, count], "data": [0.5] * count}]}
    answer = server.http("POST", "/v2/models/passthrough_fp32/infer", body, {"Accept-Encoding": encoding})
    assert answer.code == 200 and answer.headers.get("content-encoding") == encoding, answer.headers
    assert json.loads(DECODERS[encoding](answer.body))["outputs"][0]["data"] == [0.5] * count
    assert answer.headers["vary"] == "Accept-Encoding"
    answer = server.http("POST", "/v2/models/passthrough_fp32/infer", body, {"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers and answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "method,path,packed",
    [
        ("GET", "/v2/models/stats", False),
        ("POST", "/v2/repository/index", False),
        ("GET", "/metrics", True),
        ("GET", "/v1/config", True),
    ],
)
def test_which_other_answers_are_compressed(server, method, path, packed):
    """Triton's asyncio client asks for compression with every call, and undoes it for inferences alone."""
    plain = server.http(method, path)
    assert len(plain.body) > 1024 and "content-encoding" not in plain.headers
    answer = server.http(method, path, headers={"Accept-Encoding": "gzip, deflate"})
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert [each.headers.get("vary") for each in (plain, answer)] == [("Accept-Encoding" if packed else None)] * 2
    assert (gzip.decompress(answer.body) if packed else answer.body)[:200] == plain.body[:200]


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("cut", [True, False], ids=["cut_off", "not_compressed"])
def test_bad_compressed_request(post, encoding, cut):
    body = json.dumps(infer()).encode()
    if cut:
        body = ENCODERS[encoding](body)[:-6]
    answer = post(body, headers={"Content-Encoding": encoding})
    assert answer.code == 400, answer


def test_unknown_encoding_is_refused(post):
    assert post(infer(), headers={"Content-Encoding": "sepia"}).code in (400, 415)


def test_keep_alive_and_pipelining(server):
    """One connection carries many requests, also when they come all at once; answers keep their order."""
    host, port = server.rest.rsplit(":", 1)
    requests = b""
    for index in range(20):
        body = json.dumps({**infer(), "id": str(index)}).encode()
        requests += b"POST /v2/models/dummy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(requests)
        received = b""
        while received.count(b"HTTP/1.1 200") < 20 or not received.rstrip().endswith(b"}"):
            part = connection.recv(65536)
            assert part, received[-500:]
            received += part
    assert re.findall(rb'"id":\s*"([0-9]+)"', received) == [str(index).encode() for index in range(20)]


def test_expect_100_continue(server):
    host, port = server.rest.rsplit(":", 1)
    body = json.dumps(infer()).encode()
    head = b"POST /v2/models/dummy/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 200"), received[:300]


def test_chunked_request(server):
    body = json.dumps(infer()).encode()
    answer = http_call(
        server.rest,
        "POST",
        "/v2/models/dummy/infer",
        iter([body[:20], body[20:50], body[50:]]),
        {"Transfer-Encoding": "chunked"},
    )
    assert answer.code == 200, answer


def test_a_page_of_a_browser_may_call(server):
    """A preflight, and then the call."""
    path, page = "/v2/models/dummy/infer", {"Origin": "https://page.example"}
    asked = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = server.http("OPTIONS", path, headers=asked)
    assert answer.code == 200 and not answer.body
    cors = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    assert cors == {f"access-control-allow-{what}": "*" for what in ("origin", "methods", "headers")}
    body = json.dumps({"inputs": [{"name": "b", "shape": [1, 10], "datatype": "FP32", "data": list(range(10))}]})
    answer = server.http("POST", path, body.encode(), headers={**page, "Content-Type": "application/json"})
    assert answer.code == 200 and answer.headers["access-control-allow-origin"] == "*"
    answer = server.http("POST", path, body.encode())
    assert answer.code == 200 and not [name for name in answer.headers if name.startswith("access-control-")]
