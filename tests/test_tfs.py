"""TensorFlow Serving's protocol: its JSON layouts and what is special to its messages."""

import base64
import json

import numpy as np
import pytest
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_management_pb2,
    predict_pb2,
)

from clients import TENSORFLOW, TfsGrpc, TfsRest, rpc, tensor

ROW = [float(i) for i in range(10)]
ROW_PLUS = [value + 1 for value in ROW]


@pytest.fixture(scope="module")
def predict(server):
    def call(model, body):
        return server.http("POST", f"/v1/models/{model}:predict", body)

    return call


@pytest.fixture(scope="module")
def grpc_front_end(server):
    made = TfsGrpc(server)
    yield made
    made.close()


X = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
SUMS = [[10.0], [26.0]]
DOUBLED = [[2 * value for value in row] for row in X]

LAYOUTS = [
    # one output: rows or columns of bare values
    ("dummy", {"instances": [{"b": ROW}]}, {"predictions": [ROW_PLUS]}),
    ("dummy", {"instances": [ROW]}, {"predictions": [ROW_PLUS]}),
    ("dummy", {"inputs": {"b": [ROW]}}, {"outputs": [ROW_PLUS]}),
    ("dummy", {"inputs": [ROW]}, {"outputs": [ROW_PLUS]}),
    ("dynamic_batch", {"instances": [ROW, ROW_PLUS]}, {"predictions": [ROW_PLUS, [v + 2 for v in ROW]]}),
    ("dynamic_batch", {"inputs": []}, None),
    # several outputs: objects
    (
        "two_outputs",
        {"instances": X},
        {"predictions": [{"doubled": d, "total": s} for d, s in zip(DOUBLED, SUMS, strict=True)]},
    ),
    ("two_outputs", {"inputs": {"x": X}}, {"outputs": {"doubled": DOUBLED, "total": SUMS}}),
    # several inputs
    ("add_two_inputs", {"instances": [{"input1": ROW, "input2": ROW}]}, {"predictions": [[2 * v for v in ROW]]}),
    ("add_two_inputs", {"inputs": {"input2": [ROW], "input1": [ROW]}}, {"outputs": [[2 * v for v in ROW]]}),
    # scalars
    ("scalar", {"inputs": 2.5}, {"outputs": 3.5}),
    ("scalar", {"inputs": {"model_scalar_input": 2.5}}, {"outputs": 3.5}),
    # no inputs at all
    ("no_inputs", {"inputs": {}}, {"outputs": [0.0, 1.0, 2.0, 3.0]}),
    ("no_inputs", {"instances": [{}]}, {"predictions": [0.0, 1.0, 2.0, 3.0]}),
    # what is not asked about is ignored
    ("dummy", {"signature_name": "anything", "instances": [ROW], "other": {}}, {"predictions": [ROW_PLUS]}),
    # strings, and binary in its base64 form
    ("passthrough_string", {"instances": ["one", "zwö"]}, {"predictions": ["one", "zwö"]}),
    ("passthrough_string", {"inputs": {"my_name": ["one", ""]}}, {"outputs": ["one", ""]}),
    ("passthrough_string", {"instances": [{"my_name": "one"}]}, {"predictions": ["one"]}),
    ("passthrough_string", {"instances": [{"b64": base64.b64encode(b"abc").decode()}]}, {"predictions": ["abc"]}),
    ("passthrough_string", {"instances": [{"my_name": {"b64": "YWJj"}}]}, {"predictions": ["abc"]}),
    ("passthrough_string", {"instances": [{"b64": "YW\nJj\n"}]}, {"predictions": ["abc"]}),
    ("passthrough_string", {"inputs": {"my_name": [{"b64": "YWJj"}, {"b64": ""}]}}, {"outputs": ["abc", ""]}),
    # numbers of one kind for a model of the other
    ("dummy", {"instances": [[int(v) for v in ROW]]}, {"predictions": [ROW_PLUS]}),
    ("passthrough_int64", {"inputs": [[2**63 - 1, -(2**63)]]}, {"outputs": [[2**63 - 1, -(2**63)]]}),
    ("passthrough_bool", {"inputs": [[True, False]]}, {"outputs": [[True, False]]}),
]


@pytest.mark.parametrize("model,body,want", LAYOUTS)
def test_layouts(predict, model, body, want):
    answer = predict(model, body)
    if want is None:
        assert answer.code in (200, 400), answer
        return
    assert answer.code == 200, answer
    assert answer.json() == want


BAD = {
    "empty": ("dummy", b""),
    "not_json": ("dummy", b"{'instances': [1]}"),
    "array": ("dummy", [ROW]),
    "neither": ("dummy", {}),
    "both": ("dummy", {"instances": [ROW], "inputs": [ROW]}),
    "instances_no_array": ("dummy", {"instances": {"b": ROW}}),
    "instances_empty": ("dummy", {"instances": []}),
    "instances_of_null": ("dummy", {"instances": [None]}),
    "named_then_bare": ("dummy", {"instances": [{"b": ROW}, ROW]}),
    "bare_then_named": ("dynamic_batch", {"instances": [ROW, {"b": ROW}]}),
    "inputs_a_string": ("dummy", {"inputs": "b"}),
    "inputs_empty": ("dummy", {"inputs": {}}),
    "ragged": ("dynamic_batch", {"instances": [ROW, ROW[:9]]}),
    "ragged_deeper": ("increment_1x3x4x5", {"inputs": [[[[1, 2, 3, 4, 5], [1, 2, 3, 4]]]]}),
    "numbers_and_arrays": ("dynamic_batch", {"inputs": [[1, [2], 3, 4, 5, 6, 7, 8, 9, 10]]}),
    "null_in_an_array": ("dummy", {"instances": [[None] * 10]}),
    "object_in_an_array": ("dummy", {"instances": [[{}] * 10]}),
    "string_for_a_number": ("dummy", {"instances": [["1"] * 10]}),
    "rows_of_unlike_inputs": (
        "add_two_inputs",
        {"instances": [{"input1": ROW, "input2": ROW}, {"input1": ROW}]},
    ),
    "rows_that_would_take_each_others_values": (
        "add_two_inputs",
        {"instances": [{"input1": ROW, "input2": ROW}, {"input1": ROW}, {"input2": ROW}]},
    ),
    "rows_of_no_inputs": ("no_inputs", {"instances": [{}, {}]}),
    "row_without_a_value": ("dynamic_batch", {"instances": [{"b": ROW}, {}]}),
    "row_with_two_values": ("dynamic_batch", b'{"instances":[{"b":[1,2,3,4,5,6,7,8,9,10],"b":[1,2,3,4,5,6,7,8,9,10]}]}'),
    "bare_for_two_inputs_rows": ("add_two_inputs", {"instances": [ROW]}),
    "bare_for_two_inputs_columns": ("add_two_inputs", {"inputs": [ROW]}),
    "unknown_input": ("dummy", {"instances": [{"c": ROW}]}),
    "one_input_too_many": ("dummy", {"instances": [{"b": ROW, "c": ROW}]}),
    "base64_broken": ("passthrough_string", {"instances": [{"b64": "***"}]}),
    "base64_no_string": ("passthrough_string", {"instances": [{"b64": 3}]}),
    "base64_and_numbers": ("passthrough_string", {"inputs": [{"b64": "YWJj"}, 3]}),
    "beyond_the_type": ("passthrough_uint8", {"inputs": [[256]]}),
    "deep": ("dummy", b'{"instances":' + b"[" * 101 + b"]" * 101 + b"}"),
    "very_deep": ("dummy", b'{"instances":' + b"[" * 200_000),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_request_is_refused(predict, name):
    answer = predict(*BAD[name])
    assert answer.code == 400, answer
    assert answer.error


def test_version_zero_and_labels(server):
    assert server.http("POST", "/v1/models/dummy/versions/0:predict", {"instances": [ROW]}).code == 200
    assert server.http("POST", "/v1/models/dummy/versions/1:predict", {"instances": [ROW]}).code == 200
    assert server.http("POST", "/v1/models/dummy/versions/2:predict", {"instances": [ROW]}).code == 404
    assert server.http("GET", "/v1/models/dummy/versions/0").code == 200


def test_one_slash_too_many(server):
    """Of a client that joins an address with a slash at its end and a path."""
    assert server.http("POST", "//v1/models/dummy:predict", {"instances": [ROW]}).json() == {"predictions": [ROW_PLUS]}
    assert server.http("GET", "//v1/models/dummy").code == 200
    assert server.http("GET", "//v2/models/dummy").json()["name"] == "dummy"


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_other_verbs_are_not_there(server, verb):
    answer = server.http("POST", f"/v1/models/dummy:{verb}", {"instances": [ROW]})
    assert answer.code in (404, 501), answer
    assert answer.error


def test_status(server, grpc_front_end):
    entry = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": "OK"}}
    for path in ("/v1/models/dummy", "/v1/models/dummy/versions/1"):
        document = server.http("GET", path).json()
        assert list(document) == ["model_version_status"]
        (found,) = document["model_version_status"]
        assert {key: found[key] for key in ("version", "state")} == {key: entry[key] for key in ("version", "state")}
        assert found["status"]["error_code"] == "OK"
    outcome, entries = grpc_front_end.status("dummy")
    assert outcome.ok and [entry[:3] for entry in entries] == [(1, 30, 0)]


def test_status_of_a_failed_model_has_the_reason(server, grpc_front_end):
    outcome, entries = grpc_front_end.status("broken")
    assert outcome.ok, outcome
    ((version, state, code, message),) = entries
    assert version == 1 and state != 30 and code != 0 and len(message) > 20
    _, entries = TfsRest(server).status("broken")
    assert entries[0][1] != "AVAILABLE" and entries[0][2] != "OK" and entries[0][3] == message


@pytest.mark.parametrize("model,version", [("no_such_model", ""), ("", ""), ("dummy", "7"), ("dummy", "-1")])
def test_status_of_what_is_not_there(grpc_front_end, model, version):
    assert grpc_front_end.status(model, version)[0].code == "NOT_FOUND"


@pytest.mark.parametrize("field", [[], ["signature"], ["signature_def", "signature_def"]])
def test_metadata_field_must_be_signature_def(grpc_front_end, field):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=field)
    request.model_spec.name = "dummy"
    _, outcome = rpc(grpc_front_end.stub.GetModelMetadata, request)
    assert outcome.code == "INVALID_ARGUMENT", outcome


def test_metadata_names_the_method(server, grpc_front_end):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "dummy"
    response, _ = rpc(grpc_front_end.stub.GetModelMetadata, request)
    signatures = get_model_metadata_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    rest = server.http("GET", "/v1/models/dummy/metadata").json()["metadata"]["signature_def"]["signatureDef"]
    assert signatures["serving_default"].method_name == rest["serving_default"]["methodName"] == "tensorflow/serving/predict"


def test_metadata_needs_a_model(grpc_front_end):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    _, outcome = rpc(grpc_front_end.stub.GetModelMetadata, request)
    assert outcome.code in ("INVALID_ARGUMENT", "NOT_FOUND"), outcome


def test_predict_needs_a_model(grpc_front_end):
    _, outcome = rpc(grpc_front_end.stub.Predict, predict_pb2.PredictRequest())
    assert outcome.code in ("INVALID_ARGUMENT", "NOT_FOUND"), outcome


def test_negative_version(grpc_front_end):
    assert grpc_front_end.infer("dummy", [tensor("b", "FP32", [ROW])], "-1").code == "NOT_FOUND"


def test_signature_name_is_ignored_and_the_model_spec_is_filled(grpc_front_end):
    request = grpc_front_end.request("dummy", [tensor("b", "FP32", [ROW])])
    request.model_spec.signature_name = "anything"
    response = grpc_front_end.stub.Predict(request, timeout=10)
    assert response.model_spec.name == "dummy" and response.model_spec.version.value == 1


def test_output_filter(grpc_front_end):
    outcome = grpc_front_end.infer("two_outputs", [tensor("x", "FP32", X)], outputs=["total"])
    assert list(outcome.outputs) == ["total"] and outcome.outputs["total"].data.tolist() == SUMS


@pytest.mark.parametrize("datatype", [name for name in TENSORFLOW if name not in ("BYTES",)])
def test_one_value_fills_the_whole_tensor(grpc_front_end, datatype):
    """As TensorFlow writes a tensor whose elements are all alike."""
    number, field = TENSORFLOW[datatype]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = f"passthrough_{datatype.lower()}"
    message = request.inputs["data"]
    message.dtype = number
    for size in (2, 3):
        message.tensor_shape.dim.add().size = size
    getattr(message, field).append(1)
    response, failed = rpc(grpc_front_end.stub.Predict, request)
    assert failed is None, failed
    found = TfsGrpc.decode("data", response.outputs["data"])
    one = np.array([1], np.uint16).view(found.data.dtype)[0] if field == "half_val" else 1
    assert found.data.shape == (2, 3) and (found.data == one).all()


def with_float_values(front_end, values):
    request = front_end.request("dummy", [tensor("b", "FP32", [ROW])])
    request.inputs["b"].tensor_content = b""
    request.inputs["b"].float_val.extend(values)
    return rpc(front_end.stub.Predict, request)


def test_the_last_typed_value_fills_what_is_missing(grpc_front_end):
    """TensorFlow leaves equal values at the end away."""
    response, failed = with_float_values(grpc_front_end, [1.0, 2.0, 3.0])
    assert failed is None, failed
    assert TfsGrpc.decode("a", response.outputs["a"]).data.tolist() == [[2.0, 3.0] + [4.0] * 8]


def test_one_string_fills_the_whole_tensor(grpc_front_end):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "passthrough_string"
    message = request.inputs["my_name"]
    message.dtype = TENSORFLOW["BYTES"][0]
    message.tensor_shape.dim.add().size = 3
    message.string_val.append(b"a")
    response, failed = rpc(grpc_front_end.stub.Predict, request)
    assert failed is None, failed
    assert list(response.outputs["my_name"].string_val) == [b"a"] * 3


@pytest.mark.parametrize("count", [0, 11])
def test_typed_values_of_a_wrong_number(grpc_front_end, count):
    _, outcome = with_float_values(grpc_front_end, [0.0] * count)
    assert outcome is not None and outcome.code == "INVALID_ARGUMENT", outcome


@pytest.mark.parametrize("number", [0, 8, 11, 18, 20, 21, 77, 101])
def test_types_that_no_tensor_has(grpc_front_end, number):
    message = tensor_pb2.TensorProto.FromString(b"\x08" + bytes([number]))
    for size in (1, 10):
        message.tensor_shape.dim.add().size = size
    message.tensor_content = bytes(40)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "dummy"
    request.inputs["b"].CopyFrom(message)
    _, outcome = rpc(grpc_front_end.stub.Predict, request)
    assert outcome is not None and outcome.code == "INVALID_ARGUMENT", outcome


def test_shape_of_unknown_rank(grpc_front_end):
    request = grpc_front_end.request("dummy", [tensor("b", "FP32", [ROW])])
    request.inputs["b"].tensor_shape.Clear()
    request.inputs["b"].tensor_shape.unknown_rank = True
    _, outcome = rpc(grpc_front_end.stub.Predict, request)
    assert outcome is not None and outcome.code == "INVALID_ARGUMENT", outcome


def test_calls_that_are_not_built(grpc_front_end):
    for name in ("Classify", "Regress", "MultiInference"):
        call = grpc_front_end.channel.unary_unary(f"/tensorflow.serving.PredictionService/{name}")
        _, outcome = rpc(call, classification_pb2.ClassificationRequest().SerializeToString())
        assert outcome.code == "UNIMPLEMENTED", outcome


def test_reload_config_request_is_answered(grpc_front_end):
    call = grpc_front_end.models.HandleReloadConfigRequest
    _, outcome = rpc(call, model_management_pb2.ReloadConfigRequest())
    assert outcome is None or outcome.code == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    "method", ["PredictionService/Predict", "PredictionService/GetModelMetadata", "ModelService/GetModelStatus"]
)
def test_undecodable_message(grpc_front_end, method):
    for message in (b"\xff" * 20, b"\x0a\x05ab"):
        _, outcome = rpc(grpc_front_end.channel.unary_unary(f"/tensorflow.serving.{method}"), message)
        assert outcome is not None and outcome.code == "INVALID_ARGUMENT", outcome


def test_metadata_document(server):
    """The whole document, as OVMS prints it: 64-bit numbers are strings, defaults are there."""
    document = server.http("GET", "/v1/models/dummy/metadata").json()
    spec = document["modelSpec"]
    assert spec["name"] == "dummy" and spec["version"] == "1"
    signature = document["metadata"]["signature_def"]
    assert signature["@type"] == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    info = signature["signatureDef"]["serving_default"]["inputs"]["b"]
    assert info["dtype"] == "DT_FLOAT" and info["name"] == "b"
    assert [dim["size"] for dim in info["tensorShape"]["dim"]] == ["1", "10"]


def test_config_status(server):
    answer = server.http("GET", "/v1/config")
    assert answer.code == 200, answer
    document = answer.json()
    assert document["dummy"]["model_version_status"][0]["state"] == "AVAILABLE"
    assert document["broken"]["model_version_status"][0]["state"] != "AVAILABLE"
    assert json.dumps(document)
