"""Models that keep state between calls: sequences over both protocols, against OpenVINO in process."""

import concurrent.futures
import contextlib
import json
import queue
import signal
import threading

import grpc
import numpy as np
import openvino as ov
import ovmsclient
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from harness import Server, sanitized, wait_until
from testing.devices import Faults, gpu_env

START, END = 1, 2
ONES = np.ones((1, 10), np.float32)


def entry(models, name, **settings):
    path = models / settings.pop("model", name)
    return {"config": {"name": name, "base_path": str(path), "target_device": "CPU", **settings}}


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    config = folder / "config.json"
    entries = [
        entry(models, "accumulator", stateful=True, max_sequence_number=3000),
        entry(models, "recurrent", plugin_config={"NUM_STREAMS": 2, "INFERENCE_PRECISION_HINT": "f32"}),
        entry(models, "slow", model="accumulator_slow"),
        entry(models, "few", model="accumulator", max_sequence_number=2),
        entry(models, "short", model="accumulator", sequence_idle_seconds=1),
        entry(models, "fresh", model="accumulator", stateful=False),
        entry(models, "scan", stateful=True, low_latency_transformation=True),
        entry(models, "stateless", model="dummy"),
    ]
    config.write_text(json.dumps({"model_config_list": entries}))
    with Server(folder, "--config_path", config) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module", params=["grpc", "http"])
def triton(request, server):
    """(module, client) of one of the two flavours."""
    module, address = (triton_grpc, server.grpc) if request.param == "grpc" else (triton_http, server.rest)
    with module.InferenceServerClient(address) as client:
        yield module, client


def proto(data, number, field):
    made = tensor_pb2.TensorProto(dtype=number)
    for size in data.shape:
        made.tensor_shape.dim.add(size=size)
    getattr(made, field).extend(data.ravel().tolist())
    return made


def predict(stub, model, x, sequence_id=None, control=None, raw_id=None):
    """A call as OVMS's documentation of stateful models makes it. The sum or y, and the sequence's number."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(proto(x, 1, "float_val"))
    if sequence_id is not None:
        request.inputs["sequence_id"].CopyFrom(proto(np.array([sequence_id], np.uint64), 23, "uint64_val"))
    if control is not None:
        request.inputs["sequence_control_input"].CopyFrom(proto(np.array([control], np.uint32), 22, "uint32_val"))
    if raw_id is not None:
        request.inputs["sequence_id"].CopyFrom(raw_id)
    outputs = stub.Predict(request, 60).outputs
    name = "sum" if "sum" in outputs else "y"
    return np.frombuffer(outputs[name].tensor_content, np.float32).reshape(1, -1), outputs["sequence_id"].uint64_val[0]


def infer(triton, model, x, **sequence):
    module, client = triton
    tensor = module.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    return client.infer(model, [tensor], **sequence)


def code(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code().name, error.value.details()


def test_a_sequence_as_ovms_documents_it(stub):
    sums = [predict(stub, "accumulator", ONES, 5, START)[0]]
    sums += [predict(stub, "accumulator", ONES * 2, 5)[0], predict(stub, "accumulator", ONES * 3, 5, 0)[0]]
    last, number = predict(stub, "accumulator", ONES * 4, 5, END)
    assert number == 5
    assert [value[0, 0] for value in [*sums, last]] == [1, 3, 6, 10]


def test_the_server_gives_a_number(stub):
    _, number = predict(stub, "accumulator", ONES, control=START)
    _, other = predict(stub, "accumulator", ONES, 0, START)
    assert 0 != number != other != 0
    assert predict(stub, "accumulator", ONES, number, END)[0][0, 0] == 2
    assert predict(stub, "accumulator", ONES, other, END)[0][0, 0] == 2


def test_errors_have_ovms_codes(stub):
    def calling(*args, raw_id=None):
        return code(lambda: predict(stub, "few", ONES, *args, raw_id=raw_id))

    assert calling(77) == ("NOT_FOUND", calling(77)[1]) and "Sequence with provided ID does not exist" in calling(77)[1]
    assert calling(77, END)[0] == "NOT_FOUND"
    assert calling() == ("INVALID_ARGUMENT", calling()[1]) and "Sequence ID has not been provided" in calling()[1]
    assert calling(0)[0] == calling(0, END)[0] == "INVALID_ARGUMENT"
    assert calling(1, 3)[0] == "INVALID_ARGUMENT" and "Unexpected value of sequence control input" in calling(1, 3)[1]
    predict(stub, "few", ONES, 1, START)
    assert calling(1, START)[0] == "ALREADY_EXISTS" and "already exists" in calling(1, START)[1]
    predict(stub, "few", ONES, 2, START)
    assert calling(3, START)[0] == "UNAVAILABLE" and "Max sequence number has been reached" in calling(3, START)[1]
    signed = proto(np.array([1], np.int64), 9, "int64_val")
    assert calling(raw_id=signed)[0] == "INVALID_ARGUMENT" and "uint64_val" in calling(raw_id=signed)[1]
    without_shape = tensor_pb2.TensorProto(dtype=23, uint64_val=[1])
    assert calling(raw_id=without_shape)[0] == "INVALID_ARGUMENT" and "shape" in calling(raw_id=without_shape)[1]
    assert calling(raw_id=proto(np.array([1, 2], np.uint64), 23, "uint64_val"))[0] == "INVALID_ARGUMENT"
    for number in (1, 2):
        predict(stub, "few", ONES, number, END)
    predict(stub, "few", ONES, 3, START)
    predict(stub, "few", ONES, 3, END)


def test_tensorflow_serving_over_rest(server):
    def call(**inputs):
        return server.http("POST", "/v1/models/accumulator:predict", {"inputs": {"x": [[1.0] * 10], **inputs}})

    first = call(sequence_control_input=[START]).json()["outputs"]
    number = first["sequence_id"][0]
    assert first["sum"] == [[1.0] * 10] and number > 0
    assert call(sequence_id=[number]).json()["outputs"]["sum"] == [[2.0] * 10]
    row = {"instances": [{"x": [1.0] * 10, "sequence_id": number, "sequence_control_input": END}]}
    (last,) = server.http("POST", "/v1/models/accumulator:predict", row).json()["predictions"]
    assert last == {"sum": [3.0] * 10, "count": [3.0], "sequence_id": number}
    assert call(sequence_id=[number]).code == 404
    assert call().code == call(sequence_id=[0]).code == call(sequence_id=[1], sequence_control_input=[9]).code == 400
    assert call(sequence_id=[number], sequence_control_input=[START]).code == 200
    assert call(sequence_id=[number], sequence_control_input=[START]).code == 409
    assert call(sequence_id=[number], sequence_control_input=[END]).code == 200
    large = 2**64 - 1
    assert call(sequence_id=[large], sequence_control_input=[START]).json()["outputs"]["sequence_id"] == [large]
    assert call(sequence_id=[large], sequence_control_input=[END]).code == 200


def test_ovmsclient(server):
    client = ovmsclient.make_grpc_client(server.grpc)
    inputs = {"x": ONES, "sequence_id": np.array([31], np.uint64)}
    first = client.predict({**inputs, "sequence_control_input": np.array([START], np.uint32)}, "accumulator")
    last = client.predict({**inputs, "sequence_control_input": np.array([END], np.uint32)}, "accumulator")
    assert first["sum"][0, 0] == 1 and last["sum"][0, 0] == 2 and last["sequence_id"] == [31]


@pytest.mark.parametrize("number", [41, 2**63 - 1, "a name"])
def test_tritonclient(triton, number):
    sums = [
        infer(triton, "accumulator", ONES, sequence_id=number, sequence_start=True),
        infer(triton, "accumulator", ONES, sequence_id=number),
        infer(triton, "accumulator", ONES, sequence_id=number, sequence_end=True),
    ]
    assert [result.as_numpy("sum")[0, 0] for result in sums] == [1, 2, 3]
    response = sums[0].get_response()
    if triton[0] is triton_grpc:
        parameter = response.parameters["sequence_id"]
        assert (parameter.string_param if isinstance(number, str) else parameter.int64_param) == number
    else:
        assert response["parameters"] == {"sequence_id": number}
    assert [output.name for output in response.outputs] == ["sum", "count"] if triton[0] is triton_grpc else True
    with pytest.raises(InferenceServerException, match="Sequence with provided ID does not exist") as error:
        infer(triton, "accumulator", ONES, sequence_id=number)
    assert error.value.status() in ("StatusCode.NOT_FOUND", "404")
    alone = infer(triton, "accumulator", ONES * 7, sequence_id=number, sequence_start=True, sequence_end=True)
    assert alone.as_numpy("sum")[0, 0] == 7
    infer(triton, "accumulator", ONES, sequence_id=number, sequence_start=True)
    anew = infer(triton, "accumulator", ONES * 9, sequence_id=number, sequence_start=True)
    assert anew.as_numpy("sum")[0, 0] == 9, "a start of a running sequence begins it anew, as with Triton"
    infer(triton, "accumulator", ONES, sequence_id=number, sequence_end=True)


def test_tritonclient_without_a_sequence(triton):
    with pytest.raises(InferenceServerException, match="Sequence ID has not been provided"):
        infer(triton, "accumulator", ONES)
    assert infer(triton, "fresh", ONES).as_numpy("sum")[0, 0] == 1
    assert infer(triton, "fresh", ONES).as_numpy("sum")[0, 0] == 1, "stateful false: no call sees what another left"


def test_parameters_of_the_wrong_kind(server):
    with grpc.insecure_channel(server.grpc) as channel:
        kserve = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def call(**parameters):
            request = service_pb2.ModelInferRequest(model_name="accumulator")
            request.inputs.add(name="x", datatype="FP32", shape=[1, 10]).contents.fp32_contents.extend([1.0] * 10)
            for name, value in parameters.items():
                request.parameters[name].CopyFrom(service_pb2.InferParameter(**value))
            return code(lambda: kserve.ModelInfer(request, 30))

        assert call(sequence_id={"int64_param": -1})[0] == "INVALID_ARGUMENT"
        assert call(sequence_id={"bool_param": True})[0] == "INVALID_ARGUMENT"
        assert call(sequence_id={"int64_param": 1}, sequence_start={"int64_param": 1})[0] == "INVALID_ARGUMENT"
        assert call(sequence_id={"int64_param": 999})[0] == "NOT_FOUND"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 10], "data": [1.0] * 10}
    for parameters in ({"sequence_id": -1}, {"sequence_id": 1.5}, {"sequence_id": 1, "sequence_start": 1}):
        body = {"inputs": [tensor], "parameters": parameters}
        assert server.http("POST", "/v2/models/accumulator/infer", body).code == 400


def test_stateless_models_do_not_mind(triton):
    module, client = triton
    tensor = module.InferInput("b", [1, 10], "FP32")
    tensor.set_data_from_numpy(ONES)
    result = client.infer("stateless", [tensor], sequence_id=5, sequence_start=True)
    assert np.array_equal(result.as_numpy("a"), ONES + 1)


def test_streaming_keeps_the_order_without_waiting(server):
    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        rounds = 30
        for step in range(rounds):
            for number in (51, 52, "fifty-three"):
                tensor = triton_grpc.InferInput("x", [1, 10], "FP32")
                tensor.set_data_from_numpy(ONES * (step + 1))
                client.async_stream_infer(
                    "accumulator",
                    [tensor],
                    request_id=f"{number}/{step}",
                    sequence_id=number,
                    sequence_start=step == 0,
                    sequence_end=step == rounds - 1,
                )
        for _ in range(3 * rounds):
            result, error = answers.get(timeout=60)
            assert error is None, error
            step = int(result.get_response().id.split("/")[1])
            assert result.as_numpy("sum")[0, 0] == (step + 1) * (step + 2) / 2
        client.stop_stream()


class Caller:
    """One client of all four front ends: a call of model `recurrent`, and its `y`."""

    def __init__(self, server):
        self.server = server
        self.channel = grpc.insecure_channel(server.grpc)
        self.tfs = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.kserve = triton_grpc.InferenceServerClient(server.grpc)
        self.rest = triton_http.InferenceServerClient(server.rest)
        self.ways = [self.tfs_grpc, self.tfs_rest, self.kserve_grpc, self.kserve_rest]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.rest.close()
        self.kserve.close()
        self.channel.close()

    def tfs_grpc(self, x, number, first, last):
        return predict(self.tfs, "recurrent", x, number, START if first else END if last else None)[0]

    def tfs_rest(self, x, number, first, last):
        inputs = {"x": x.tolist(), "sequence_id": [number], "sequence_control_input": [START if first else END if last else 0]}
        answer = self.server.http("POST", "/v1/models/recurrent:predict", {"inputs": inputs})
        assert answer.code == 200, answer.body
        assert answer.json()["outputs"]["sequence_id"] == [number]
        return np.array(answer.json()["outputs"]["y"], np.float32)

    def kserve_grpc(self, x, number, first, last):
        way = (triton_grpc, self.kserve)
        return infer(way, "recurrent", x, sequence_id=number, sequence_start=first, sequence_end=last).as_numpy("y")

    def kserve_rest(self, x, number, first, last):
        way = (triton_http, self.rest)
        return infer(way, "recurrent", x, sequence_id=number, sequence_start=first, sequence_end=last).as_numpy("y")


def test_a_hundred_at_once_from_eight_clients_agree_with_openvino_bit_for_bit(server, models):
    """Each client plays 13 sequences at once, each call over any front end; every answer is OpenVINO's for that one alone."""
    clients, each, length = 8, 13, 12
    core = ov.Core()
    compiled = core.compile_model(models / "recurrent" / "1" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    # One thread at a time, and none made while others run: OpenVINO's Python package may deadlock then.
    in_process = threading.Lock()
    made = [[compiled.create_infer_request() for _ in range(each)] for _ in range(clients)]
    all_began = threading.Barrier(clients)
    most = []

    def client(index):
        random = np.random.default_rng(index)
        steps = [0] * each
        used = set()
        with Caller(server) as caller:

            def step(which):
                x = random.standard_normal((1, 64)).astype(np.float32)
                number = 1000 + 100 * index + which
                way = caller.ways[random.integers(4)]
                used.add(way.__name__)
                got = way(x, number, steps[which] == 0, steps[which] == length - 1)
                with in_process:
                    wanted = made[index][which].infer([x])[compiled.output(0)]
                assert np.array_equal(got, wanted), f"sequence {number}, call {steps[which]}, {way.__name__}"
                steps[which] += 1

            for which in range(each):
                step(which)
            all_began.wait(120)
            most.append(server.metric(r'^switchyard_sequences{model="recurrent"'))
            all_began.wait(120)
            while min(steps) < length:
                step(int(random.choice([i for i in range(each) if steps[i] < length])))
        return len(used)

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        assert list(pool.map(client, range(clients))) == [4] * clients
    assert most == [clients * each] * clients
    assert server.metric(r'^switchyard_sequences{model="recurrent"') == 0


def test_thousands_at_once(server):
    """2500 sequences run at the same time; each keeps its own state."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        done = threading.Semaphore(0)
        found = {}

        def step(turn, **sequence):
            for number in range(1, 2501):
                tensor = triton_grpc.InferInput("x", [1, 10], "FP32")
                tensor.set_data_from_numpy(ONES * number)

                def keep(result, error, number=number):
                    found[number] = error if error else result.as_numpy("sum")[0, 0]
                    done.release()

                # Not more at once than may wait.
                client.async_infer("accumulator", [tensor], keep, sequence_id=f"many {number}", **sequence)
                if number % 200 == 0 or number == 2500:
                    for _ in range(200 if number % 200 == 0 else 2500 % 200):
                        assert done.acquire(timeout=60)
            wrong = {number: value for number, value in found.items() if value != turn * number}
            assert not wrong, dict(list(wrong.items())[:3])

        step(1, sequence_start=True)
        step(2)
        step(3, sequence_end=True)


def test_idle_sequences_end(server, stub):
    predict(stub, "short", ONES, 1, START)
    wait_until(lambda: "sequence 1 was idle too long" in server.log, 10, "the end of the idle sequence")
    assert code(lambda: predict(stub, "short", ONES, 1))[0] == "NOT_FOUND"
    predict(stub, "short", ONES, 1, START)


def test_low_latency_transformation_keeps_a_loops_state(stub):
    x = np.ones((1, 1, 8), np.float32)
    assert predict(stub, "scan", x, 1, START)[0].ravel()[0] == 1
    assert predict(stub, "scan", x, 1)[0].ravel()[0] == 2
    assert predict(stub, "scan", x, 2, START)[0].ravel()[0] == 1
    assert predict(stub, "scan", x, 1, END)[0].ravel()[0] == 3


def test_different_sequences_run_in_parallel_and_calls_of_one_do_not(server):
    """Eight calls of one sequence, sent at once on one stream, are summed one after the other; a cancelled one is left out."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        tensor = triton_grpc.InferInput("x", [1, 10], "FP32")
        tensor.set_data_from_numpy(ONES)
        client.infer("slow", [tensor], sequence_id=1, sequence_start=True)
        sums = []
        done = threading.Semaphore(0)

        def keep(result, error):
            sums.append(error or result.as_numpy("sum")[0, 0])
            done.release()

        for _ in range(8):
            client.async_infer("slow", [tensor], keep, sequence_id=1)
        for _ in range(8):
            assert done.acquire(timeout=60)
        assert sorted(sums) == list(range(2, 10))
        client.infer("slow", [tensor], sequence_id=1, sequence_end=True)


def test_kserve_errors(triton):
    """The same table as over TensorFlow Serving's protocol, where a start of what runs is no error."""

    def refused(message, *codes, **sequence):
        with pytest.raises(InferenceServerException, match=message) as error:
            infer(triton, "few", ONES, **sequence)
        assert error.value.status() in codes

    infer(triton, "few", ONES, sequence_id=1, sequence_start=True)
    infer(triton, "few", ONES, sequence_id="two", sequence_start=True)
    refused("Max sequence number has been reached", "StatusCode.UNAVAILABLE", "503", sequence_id=3, sequence_start=True)
    refused("does not exist", "StatusCode.NOT_FOUND", "404", sequence_id=2)
    refused("does not exist", "StatusCode.NOT_FOUND", "404", sequence_id=3, sequence_end=True)
    assert infer(triton, "few", ONES, sequence_id=1).as_numpy("sum")[0, 0] == 2, "refused calls leave others alone"
    for number in (1, "two"):
        infer(triton, "few", ONES, sequence_id=number, sequence_end=True)
        refused("does not exist", "StatusCode.NOT_FOUND", "404", sequence_id=number)


def test_the_wrong_input_leaves_the_state_alone(triton, stub):
    infer(triton, "accumulator", ONES, sequence_id=71, sequence_start=True)
    with pytest.raises(InferenceServerException, match="shape"):
        infer(triton, "accumulator", np.ones((1, 11), np.float32), sequence_id=71)
    assert infer(triton, "accumulator", ONES, sequence_id=71, sequence_end=True).as_numpy("sum")[0, 0] == 2
    predict(stub, "accumulator", ONES, 72, START)
    assert code(lambda: predict(stub, "accumulator", np.ones((1, 11), np.float32), 72, END))[0] == "INVALID_ARGUMENT"
    assert predict(stub, "accumulator", ONES, 72, END)[0][0, 0] == 2, "an end that was refused did not end it"


def test_two_calls_of_one_sequence_at_once(server):
    """From two connections over two protocols: both are answered, one after the other, and neither is lost."""
    with grpc.insecure_channel(server.grpc) as channel:
        tfs = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        predict(tfs, "slow", ONES, 81, START)

        def by_tfs():
            return predict(tfs, "slow", ONES, 81)[0][0, 0]

        def by_kserve():
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, 10], "data": [1.0] * 10}
            body = {"inputs": [tensor], "parameters": {"sequence_id": 81}}
            return server.http("POST", "/v2/models/slow/infer", body).json()["outputs"][0]["data"][0]

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for turn in range(5):
                calls = [pool.submit(by_tfs), pool.submit(by_kserve)]
                assert {call.result(60) for call in calls} == {2 * turn + 2, 2 * turn + 3}
        assert predict(tfs, "slow", ONES, 81, END)[0][0, 0] == 12


def test_calls_that_were_taken_are_answered_when_the_server_stops(models, tmp_path):
    """SIGTERM with one call running and others behind it: all are run, the server ends with 0, though sequences were open."""
    arguments = ("--model_name", "slow", "--model_path", models / "accumulator_slow", "--target_device", "CPU")
    server = Server(tmp_path, *arguments).wait_ready()
    with contextlib.ExitStack() as at_end, triton_grpc.InferenceServerClient(server.grpc) as client:
        at_end.callback(server.kill)
        tensor = triton_grpc.InferInput("x", [1, 10], "FP32")
        tensor.set_data_from_numpy(ONES)
        client.infer("slow", [tensor], sequence_id=1, sequence_start=True)
        client.infer("slow", [tensor], sequence_id=2, sequence_start=True)
        answers = queue.Queue()
        count = 100  # a second's work
        for _ in range(count):
            client.async_infer("slow", [tensor], lambda result, error: answers.put((result, error)), sequence_id=1)

        def all_came():
            waiting = server.metric(r"^switchyard_queue_length{")
            return waiting >= 5 and waiting + server.metric(r"^switchyard_requests_total{") >= 2 + count - 1

        wait_until(all_came, 10, "a call with others behind it")
        server.process.send_signal(signal.SIGTERM)
        sums = []
        for _ in range(count):
            result, error = answers.get(timeout=30)
            assert error is None, error
            sums.append(result.as_numpy("sum")[0, 0])
        assert sorted(sums) == list(range(2, count + 2))
        assert server.wait_exit() == 0


@pytest.mark.skipif(sanitized(), reason="Intel's driver does not run under a sanitizer's binary")
def test_a_sequence_is_lost_with_its_device_and_says_so(models, tmp_path):
    """The real GPU plugin on Intel's recording driver: the call is not repeated on the CPU, where the state is not."""
    faults = Faults(tmp_path / "faults")
    arguments = ("--model_name", "m", "--model_path", models / "accumulator", "--target_device", "AUTO:GPU,CPU")
    with Server(tmp_path, *arguments, env=gpu_env(fault_file=faults.path)) as server:
        with grpc.insecure_channel(server.grpc) as channel, triton_http.InferenceServerClient(server.rest) as rest:
            tfs = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            wait_until(lambda: on_gpu(server, tfs), 45, "sequences on the GPU")
            predict(tfs, "m", ONES, 1, START)
            predict(tfs, "m", ONES, 2, START)
            faults.set("out_of_resources")
            name, details = code(lambda: predict(tfs, "m", ONES, 1))
            assert name == "UNAVAILABLE" and "begin the sequence anew" in details, details
            wait_until(lambda: server.metric(r"^switchyard_failovers_total{") == 1, 20, "the failover")
            with pytest.raises(InferenceServerException, match="Sequence 2 of model m is lost with its state") as error:
                infer((triton_http, rest), "m", ONES, sequence_id=2)
            assert error.value.status() == "503"
            assert code(lambda: predict(tfs, "m", ONES, 1))[0] == code(lambda: predict(tfs, "m", ONES, 2))[0] == "NOT_FOUND"
            sums = [predict(tfs, "m", ONES, 1, control)[0][0, 0] for control in (START, None, END)]
            assert sums == [1, 2, 3], "on the CPU"
            assert server.metric(r"^switchyard_retried_calls_total{") == 0


def on_gpu(server, tfs):
    predict(tfs, "m", ONES, 9, START)
    predict(tfs, "m", ONES, 9, END)
    return server.metric(r'^switchyard_requests_total{.*device="GPU.0".*code="OK"') > 0


def test_a_start_with_stateful_on_a_stateless_model_is_refused(models, tmp_path):
    from harness import run_binary

    model = ["--model_name", "m", "--model_path", models / "dummy", "--target_device", "CPU", "--rest_port", "auto"]
    refused = run_binary(*model, "--rest_bind_address", "127.0.0.1", "--stateful")
    assert refused.returncode == 1 and "the model has no variables" in refused.stdout + refused.stderr
    refused = run_binary(*model, "--low_latency_transformation")
    assert refused.returncode == 64 and "set stateful to true" in refused.stderr
