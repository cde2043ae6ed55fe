"""KServe v2 over gRPC: what is special to its messages, and the services beside it."""

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from clients import KserveGrpc, rpc, tensor

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.fixture(scope="module")
def front_end(server):
    made = KserveGrpc(server)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stub(front_end):
    return front_end.stub


def failure(call, request):
    response, outcome = rpc(call, request)
    assert outcome is not None, response
    return outcome


def test_server_calls(stub):
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    metadata = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert metadata.name and metadata.version


@pytest.mark.parametrize(
    "name,version,ready",
    [
        ("dummy", "", True),
        ("dummy", "1", True),
        ("dummy", "9", False),
        ("no_such_model", "", False),
        ("broken", "", False),
    ],
)
def test_model_ready_answers_for_every_name(stub, name, version, ready):
    assert stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready is ready


def two_inputs():
    request = pb.ModelInferRequest(model_name="add_two_inputs")
    for name in ("input1", "input2"):
        request.inputs.add(name=name, datatype="FP32", shape=[1, 10])
    return request


def test_raw_for_one_input_and_contents_for_the_other(stub):
    """The standard forbids the mixture; contents beside raw data can't be told apart from it."""
    request = two_inputs()
    request.inputs[0].contents.fp32_contents.extend(TEN.reshape(-1).tolist())
    request.raw_input_contents.append(TEN.tobytes())
    outcome = failure(stub.ModelInfer, request)
    assert outcome.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("count", [1, 3])
def test_number_of_raw_buffers_unlike_the_inputs(stub, count):
    request = two_inputs()
    request.raw_input_contents.extend([TEN.tobytes()] * count)
    outcome = failure(stub.ModelInfer, request)
    assert outcome.code == "INVALID_ARGUMENT" and "raw_input_contents" in outcome.message


def test_contents_in_the_field_of_another_type(stub):
    request = pb.ModelInferRequest(model_name="dummy")
    entry = request.inputs.add(name="b", datatype="FP32", shape=[1, 10])
    entry.contents.fp64_contents.extend([0.0] * 10)
    assert failure(stub.ModelInfer, request).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", [128, -129, 2**31 - 1])
def test_contents_beyond_their_type(stub, value):
    request = pb.ModelInferRequest(model_name="passthrough_int8")
    entry = request.inputs.add(name="data", datatype="INT8", shape=[1, 1])
    entry.contents.int_contents.append(value)
    assert failure(stub.ModelInfer, request).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "raw",
    [b"\x05\0\0\0abc", b"\x01\0\0\0a\x01\0", b"\xff\xff\xff\xffab", b"\x01\0\0\0a", b"\x01\0\0\0a" * 3, b""],
    ids=["short", "prefix_cut", "prefix_huge", "one_missing", "one_too_many", "empty"],
)
def test_bad_packing_of_strings(stub, raw):
    request = pb.ModelInferRequest(model_name="passthrough_string", raw_input_contents=[raw])
    request.inputs.add(name="my_name", datatype="BYTES", shape=[2])
    assert failure(stub.ModelInfer, request).code == "INVALID_ARGUMENT"


def test_unknown_datatype(stub):
    request = pb.ModelInferRequest(model_name="dummy", raw_input_contents=[TEN.tobytes()])
    request.inputs.add(name="b", datatype="FP33", shape=[1, 10])
    outcome = failure(stub.ModelInfer, request)
    assert outcome.code == "INVALID_ARGUMENT" and "FP33" in outcome.message


def test_same_input_twice(stub):
    request = two_inputs()
    request.inputs[1].name = "input1"
    request.raw_input_contents.extend([TEN.tobytes()] * 2)
    assert failure(stub.ModelInfer, request).code == "INVALID_ARGUMENT"


def test_id_is_returned(front_end):
    response = front_end.stub.ModelInfer(front_end.request("dummy", [tensor("b", "FP32", TEN)], id="ü-7"))
    assert response.id == "ü-7"


def test_empty_request(stub):
    assert failure(stub.ModelInfer, pb.ModelInferRequest()).code in ("NOT_FOUND", "INVALID_ARGUMENT")


def test_parameters_that_mean_nothing_here_do_no_harm(front_end):
    request = front_end.request("dummy", [tensor("b", "FP32", TEN)])
    request.parameters["priority"].uint64_param = 3
    request.parameters["sequence_id"].string_param = "x"
    request.parameters["ratio"].double_param = 0.5
    request.inputs[0].parameters["flag"].bool_param = True
    assert front_end.stub.ModelInfer(request).outputs


UNDECODABLE = [b"\xff" * 20, b"\x0a\x05ab", b"\x2a\x7f", b"\x0a\x02\xff\xfe", b"\x0b"]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelReady"])
@pytest.mark.parametrize("message", UNDECODABLE[:3], ids=["garbage", "cut_off", "cut_off_at_once"])
def test_undecodable_message(front_end, method, message):
    call = front_end.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    outcome = failure(call, message)
    assert outcome.code == "INVALID_ARGUMENT" and outcome.message


def test_name_that_is_not_utf8(front_end):
    call = front_end.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert failure(call, b"\x0a\x02\xff\xfe").code in ("INVALID_ARGUMENT", "NOT_FOUND")


def test_unknown_method_and_service(front_end):
    for path in ("/inference.GRPCInferenceService/Nothing", "/no.such.Service/Call"):
        assert failure(front_end.channel.unary_unary(path), b"").code == "UNIMPLEMENTED"


def test_unknown_fields_are_skipped(front_end):
    request = front_end.request("dummy", [tensor("b", "FP32", TEN)]).SerializeToString() + b"\xa2\x06\x03abc"
    call = front_end.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert pb.ModelInferResponse.FromString(call(request, timeout=10)).outputs


# --- streams ---


def stream(front_end, requests):
    return list(front_end.stub.ModelStreamInfer(iter(requests), timeout=30))


def test_stream_answers_in_order(front_end):
    requests = [front_end.request("dummy", [tensor("b", "FP32", TEN + i)], id=str(i)) for i in range(200)]
    answers = stream(front_end, requests)
    assert [answer.infer_response.id for answer in answers] == [str(i) for i in range(200)]
    for i, answer in enumerate(answers):
        assert not answer.error_message
        assert np.array_equal(KserveGrpc.outcome(answer.infer_response).outputs["a"].data, TEN + i + 1)


def test_stream_order_holds_between_slow_and_quick_calls(front_end):
    def steps(count, id):
        return front_end.request("loop", [tensor("x", "FP32", TEN), tensor("n", "INT64", count)], id=id)

    answers = stream(front_end, [steps(20000, "slow"), steps(1, "quick"), steps(5000, "middle"), steps(0, "none")])
    assert [answer.infer_response.id for answer in answers] == ["slow", "quick", "middle", "none"]


def test_stream_tells_errors_in_band_and_goes_on(front_end):
    good = front_end.request("dummy", [tensor("b", "FP32", TEN)])
    bad = front_end.request("dummy", [tensor("b", "FP32", TEN[:, :9])])
    unknown = front_end.request("no_such_model", [tensor("b", "FP32", TEN)])
    answers = stream(front_end, [good, bad, good, unknown, good])
    assert [bool(answer.error_message) for answer in answers] == [False, True, False, True, False]
    assert "Invalid input shape" in answers[1].error_message
    assert "no_such_model" in answers[3].error_message


def test_stream_outlives_an_error_about_a_name_that_is_cut(front_end):
    """Clients refuse a message, and with it the stream, for half a character."""
    good = front_end.request("dummy", [tensor("b", "FP32", TEN)])
    bad = pb.ModelInferRequest()
    bad.CopyFrom(good)
    bad.inputs.add(name="x" + "é" * 40, datatype="FP32", shape=[1, 10])
    bad.raw_input_contents.append(bytes(40))
    answers = stream(front_end, [bad, good])
    assert "Invalid number of inputs" in answers[0].error_message and not answers[1].error_message
    assert answers[1].infer_response.parameters["triton_final_response"].bool_param


def test_streams_of_several_models(front_end):
    requests = [
        front_end.request("dummy", [tensor("b", "FP32", TEN)]),
        front_end.request("passthrough_string", [tensor("my_name", "BYTES", [b"a"])]),
    ]
    assert [answer.infer_response.model_name for answer in stream(front_end, requests)] == ["dummy", "passthrough_string"]


def test_empty_stream(front_end):
    assert stream(front_end, []) == []


def test_stream_left_by_the_client(front_end):
    """The client goes away with answers still to come; the server serves the next one."""
    for _ in range(5):
        channel = grpc.insecure_channel(front_end.server.grpc)
        requests = [front_end.request("dummy", [tensor("b", "FP32", TEN)])] * 50
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests))
        next(call)
        call.cancel()
        channel.close()
    assert front_end.infer("dummy", [tensor("b", "FP32", TEN)]).ok


# --- what stands beside it ---


def test_grpc_health(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == serving
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert next(watch).status == serving
        watch.cancel()
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_reflection_knows_every_service(server, version):
    with grpc.insecure_channel(server.grpc) as channel:
        # The messages of both versions are the same on the wire.
        reflect = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Symbol"),
        ]
        answers = list(reflect(iter(requests), timeout=10))
    names = {service.name for service in answers[0].list_services_response.service}
    assert {
        "inference.GRPCInferenceService",
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= names
    assert answers[1].file_descriptor_response.file_descriptor_proto
    assert answers[2].file_descriptor_response.file_descriptor_proto
    assert answers[3].HasField("error_response")
