"""Starting, stopping, queues, deadlines, and clients that go away."""

import concurrent.futures
import http.client
import json
import pathlib
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from clients import KserveGrpc, KserveRest, tensor
from conftest import light_resnet50, write_config
from harness import Server, free_port, http_call, wait_until

TEN = np.zeros((1, 10), np.float32)
SLOW_BODY = {"inputs": [{"name": "x", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}]}


def stub_of(address):
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    return channel, service_pb2_grpc.GRPCInferenceServiceStub(channel)


def slow_request(server):
    return KserveGrpc(server).request("slow", [tensor("x", "FP32", TEN)])


# --- starting ---


def test_liveness_answers_while_models_load(tmp_path):
    """Liveness, over both protocols, before the first model is there; readiness and inference say that it is loading."""
    folder = light_resnet50().parent
    entries = [
        {"name": f"{name}_{i}", "base_path": str(folder / f"light_{name}.onnx"), "target_device": "CPU"}
        for i in range(3)
        for name in ("densenet121", "inception_v2")
    ]
    port, rest_port = free_port(), free_port()
    config = write_config(tmp_path / "config.json", entries)
    server = Server(tmp_path, "--config_path", config, "--port", str(port), "--rest_port", str(rest_port))
    address = f"127.0.0.1:{rest_port}"
    try:

        def live():
            assert server.process.poll() is None, server.log
            try:
                return http_call(address, "GET", "/v2/health/live").code == 200
            except OSError:
                return False

        wait_until(live, 20, "liveness")
        ready = http_call(address, "GET", "/v2/health/ready")
        assert ready.code == 503 and ready.error, "loading was over before readiness was asked for"
        assert http_call(address, "GET", "/v2/models/inception_v2_2/ready").code == 503
        answer = http_call(address, "POST", "/v1/models/inception_v2_2:predict", {"inputs": [0.0]})
        assert answer.code == 503, answer
        status = http_call(address, "GET", "/v1/models/inception_v2_2").json()
        assert status["model_version_status"][0]["state"] in ("START", "LOADING")
        channel, stub = stub_of(f"127.0.0.1:{port}")
        with channel:
            assert stub.ServerLive(pb.ServerLiveRequest(), timeout=10).live
            assert not stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
            health = health_pb2_grpc.HealthStub(channel)
            not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == not_serving
        server.wait_ready()
        assert http_call(address, "GET", "/v2/health/ready").code == 200
        assert http_call(address, "GET", "/v2/models/inception_v2_2/ready").code == 200
        assert server.stop() == 0
    finally:
        server.kill()


def test_sigterm_while_models_load(tmp_path):
    folder = light_resnet50().parent
    entries = [{"name": f"m{i}", "base_path": str(folder / "light_densenet121.onnx"), "target_device": "CPU"} for i in range(8)]
    rest_port = free_port()
    config = write_config(tmp_path / "config.json", entries)
    server = Server(tmp_path, "--config_path", config, "--rest_port", str(rest_port))
    try:

        def live():
            try:
                return http_call(f"127.0.0.1:{rest_port}", "GET", "/v2/health/live").code == 200
            except OSError:
                return False

        wait_until(live, 20, "liveness")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 15
    finally:
        server.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_stop_when_idle(models, tmp_path, how):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    server = Server(tmp_path, *args).wait_ready()
    idle = socket.create_connection(server.rest.rsplit(":", 1), timeout=5)
    started = time.monotonic()
    assert server.stop(how) == 0
    assert time.monotonic() - started < 5
    idle.close()


@pytest.fixture
def slow_args(models):
    return ["--model_name", "slow", "--model_path", models / "slow", "--target_device", "CPU", "--nireq", "1"]


def test_calls_in_flight_finish_after_sigterm(slow_args, tmp_path):
    server = Server(tmp_path, *slow_args).wait_ready()
    try:
        keep_alive = http.client.HTTPConnection(server.rest, timeout=20)
        keep_alive.request("GET", "/v2/health/ready")
        assert keep_alive.getresponse().read() is not None
        channel, stub = stub_of(server.grpc)
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        # One after the other on one infer request: together they are in flight for more than a second.
        calls = [stub.ModelInfer.future(slow_request(server), timeout=30) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            rest = pool.submit(http_call, server.rest, "POST", "/v2/models/slow/infer", SLOW_BODY)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            try:
                keep_alive.request("GET", "/v2/health/ready")
                assert keep_alive.getresponse().status == 503
            except (OSError, http.client.HTTPException):
                pass  # closed, which says the same
            try:
                assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            except grpc.RpcError:
                pass
            assert [call.result().model_name for call in calls] == ["slow"] * 4
            assert rest.result().code == 200
        assert server.wait_exit() == 0
        channel.close()
    finally:
        server.kill()


def call_then_signals(server, how):
    """Calls that take long together, and `how` twice while they run. The channel and the calls' futures."""
    channel, stub = stub_of(server.grpc)
    calls = [stub.ModelInfer.future(slow_request(server), timeout=30) for _ in range(4)]
    time.sleep(0.2)
    server.process.send_signal(how)
    wait_until(lambda: "finishing what is in flight" in server.log, 10, "the line about stopping")
    server.process.send_signal(how)
    return channel, calls


def test_second_sigterm_does_no_harm(slow_args, tmp_path):
    server = Server(tmp_path, *slow_args).wait_ready()
    try:
        channel, calls = call_then_signals(server, signal.SIGTERM)
        assert [call.result().model_name for call in calls] == ["slow"] * 4
        assert server.wait_exit() == 0
        channel.close()
    finally:
        server.kill()


def test_second_sigint_ends_at_once(slow_args, tmp_path):
    server = Server(tmp_path, *slow_args).wait_ready()
    try:
        channel, calls = call_then_signals(server, signal.SIGINT)
        assert server.wait_exit() == -signal.SIGINT
        assert not all(call.exception() is None for call in calls)
        channel.close()
    finally:
        server.kill()


def test_sigusr1_of_another_process_does_no_harm(models, tmp_path):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    with Server(tmp_path, *args) as server:
        server.process.send_signal(signal.SIGUSR1)
        # Taken after it, so it has been seen.
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP" in server.log, 10, "the line about SIGHUP")
        assert server.http("GET", "/v2/models/dummy/ready").code == 200


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize("warm", [False, True], ids=["thought_cheap", "known_dear"])
def test_grace_ends_calls_that_take_too_long(models, tmp_path, protocol, warm):
    """Wherever the inference runs: a model whose calls were cheap so far may run on a listener's thread."""
    args = ["--model_name", "loop", "--model_path", models / "loop", "--target_device", "CPU", "--grace_seconds", "1"]
    server = Server(tmp_path, *args).wait_ready()
    try:
        front_end = (KserveGrpc if protocol == "grpc" else KserveRest)(server)

        def steps(count):
            return front_end.infer("loop", [tensor("x", "FP32", TEN), tensor("n", "INT64", count)])

        for _ in range(20 if warm else 300):
            assert steps(20_000 if warm else 0).ok
        with concurrent.futures.ThreadPoolExecutor() as pool:
            call = pool.submit(steps, 6_000_000)
            time.sleep(0.3)
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.wait_exit(20) == 0
            assert time.monotonic() - started < 5
            try:
                assert not call.result().ok
            except (OSError, http.client.HTTPException):
                pass
        front_end.close()
    finally:
        server.kill()


# --- the queue ---


@pytest.fixture(scope="module")
def narrow(models, tmp_path_factory):
    """One infer request that takes `slow_s` seconds, and two places to wait in."""
    args = ["--model_name", "slow", "--model_path", models / "slow", "--target_device", "CPU"]
    with Server(tmp_path_factory.mktemp("narrow"), *args, "--nireq", "1", "--max_queue", "2") as server:
        channel, made = stub_of(server.grpc)
        took = []
        for _ in range(3):
            started = time.monotonic()
            made.ModelInfer(slow_request(server), timeout=30)
            took.append(time.monotonic() - started)
        channel.close()
        server.slow_s = min(took)
        yield server


@pytest.fixture
def stub(narrow):
    channel, made = stub_of(narrow.grpc)

    def idle():
        try:
            return made.ModelInfer(slow_request(narrow), timeout=30)
        except grpc.RpcError:
            return None

    wait_until(idle, 20, "an idle model")
    yield made
    channel.close()


def code_of(call):
    try:
        call.result(timeout=30)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def test_queue_full_over_grpc(narrow, stub):
    request = slow_request(narrow)
    started = time.monotonic()
    refused_after = []
    calls = [stub.ModelInfer.future(request, timeout=30) for _ in range(8)]
    for call in calls:
        call.add_done_callback(lambda _: refused_after.append(time.monotonic() - started))
    codes = [code_of(call) for call in calls]
    assert sorted(codes) == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 5
    assert sorted(refused_after)[4] < narrow.slow_s, "refusals must not wait"
    message = next(call.exception().details() for call in calls if code_of(call) != "OK")
    assert "slow" in message and "queue" in message.lower()


@pytest.mark.parametrize(
    "path,body",
    [("/v2/models/slow/infer", SLOW_BODY), ("/v1/models/slow:predict", {"inputs": TEN.tolist()})],
    ids=["kserve", "tfs"],
)
def test_queue_full_over_rest(narrow, stub, path, body):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: narrow.http("POST", path, body), range(8)))
    assert sorted(answer.code for answer in answers) == [200] * 3 + [429] * 5
    assert all("queue" in answer.error.lower() for answer in answers if answer.code == 429)


def with_timeout(server, microseconds, kind="int64_param"):
    request = slow_request(server)
    setattr(request.parameters["timeout"], kind, microseconds)
    return request


@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
@pytest.mark.parametrize("busy", [True, False], ids=["in_the_queue", "in_the_device"])
def test_timeout_parameter(narrow, stub, busy, kind):
    """The answer comes when the time is over, not when the device is free."""
    first = stub.ModelInfer.future(slow_request(narrow), timeout=30) if busy else None
    started = time.monotonic()
    call = stub.ModelInfer.future(with_timeout(narrow, 30_000, kind), timeout=30)
    assert code_of(call) == "DEADLINE_EXCEEDED"
    assert time.monotonic() - started < narrow.slow_s
    assert first is None or code_of(first) == "OK"
    assert code_of(stub.ModelInfer.future(slow_request(narrow), timeout=30)) == "OK"


def test_timeout_parameter_over_rest(narrow, stub):
    started = time.monotonic()
    answer = narrow.http("POST", "/v2/models/slow/infer", {**SLOW_BODY, "parameters": {"timeout": 30_000}})
    assert answer.code == 504 and answer.error
    assert time.monotonic() - started < narrow.slow_s


def test_a_timeout_long_enough_changes_nothing(narrow, stub):
    assert code_of(stub.ModelInfer.future(with_timeout(narrow, 20_000_000), timeout=30)) == "OK"
    assert code_of(stub.ModelInfer.future(with_timeout(narrow, 0), timeout=30)) == "OK"
    answer = narrow.http("POST", "/v2/models/slow/infer", {**SLOW_BODY, "parameters": {"timeout": 20_000_000}})
    assert answer.code == 200


def start_one(narrow, stub):
    """A call that has the one infer request to itself."""
    call = stub.ModelInfer.future(slow_request(narrow), timeout=30)
    time.sleep(narrow.slow_s / 4)
    return call


@pytest.mark.parametrize("way", ["cancel", "deadline"])
def test_a_grpc_call_that_ends_early_frees_its_place(narrow, stub, way):
    running = start_one(narrow, stub)
    limit = narrow.slow_s / 5 if way == "deadline" else 30
    leaving = [stub.ModelInfer.future(slow_request(narrow), timeout=limit) for _ in range(2)]
    time.sleep(narrow.slow_s / 4)
    for call in leaving:
        call.cancel()
    time.sleep(narrow.slow_s / 4)
    staying = [stub.ModelInfer.future(slow_request(narrow), timeout=30) for _ in range(2)]
    assert code_of(running) == "OK"
    assert [code_of(call) for call in staying] == ["OK", "OK"]


def test_a_rest_client_that_closes_frees_its_place(narrow, stub):
    running = start_one(narrow, stub)
    body = json.dumps(SLOW_BODY).encode()
    head = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    leaving = [socket.create_connection(narrow.rest.rsplit(":", 1), timeout=5) for _ in range(2)]
    for connection in leaving:
        connection.sendall(head + body)
    time.sleep(narrow.slow_s / 4)
    for connection in leaving:
        connection.close()
    time.sleep(narrow.slow_s / 4)
    staying = [stub.ModelInfer.future(slow_request(narrow), timeout=30) for _ in range(2)]
    assert code_of(running) == "OK"
    assert [code_of(call) for call in staying] == ["OK", "OK"]


def test_a_storm_of_calls_that_end_early(narrow, stub):
    """Deadlines and cancellations at every moment of a call's life: what is left serves, and every call gets one answer."""
    request = slow_request(narrow)
    calls = []
    for index in range(300):
        call = stub.ModelInfer.future(request, timeout=30 if index % 3 == 0 else 0.001 * (index % 50 + 1))
        if index % 3 == 0:
            call.cancel()
        calls.append(call)
    answered = 0
    for call in calls:
        try:
            call.result(timeout=30)
            answered += 1
        except (grpc.RpcError, grpc.FutureCancelledError):
            answered += 1
    assert answered == 300
    wait_until(lambda: code_of(stub.ModelInfer.future(request, timeout=30)) == "OK", 20, "a free infer request")


def test_cheap_calls_are_served_beside_slow_ones(server):
    """No listener waits for an inference: while `slow` runs, other models answer."""
    channel, stub = stub_of(server.grpc)
    with channel:
        calls = [stub.ModelInfer.future(slow_request(server), timeout=30) for _ in range(4)]
        time.sleep(0.05)
        front_end = KserveGrpc(server)
        for _ in range(20):
            assert front_end.infer("dummy", [tensor("b", "FP32", TEN)]).ok
        assert server.http("POST", "/v1/models/dummy:predict", {"inputs": TEN.tolist()}).code == 200
        assert not all(call.done() for call in calls)
        assert [code_of(call) for call in calls] == ["OK"] * 4
        front_end.close()


def test_many_clients_at_once(server):
    """Every answer belongs to its own request."""
    wrong = []

    def run(index):
        front_end = KserveGrpc(server)
        for step in range(25):
            data = np.full((1, 10), index * 1000 + step, np.float32)
            outcome = front_end.infer("dummy", [tensor("b", "FP32", data)])
            if not outcome.ok or not np.array_equal(outcome.outputs["a"].data, data + 1):
                wrong.append((index, step, outcome))
            answer = server.http("POST", "/v1/models/dummy:predict", {"inputs": data.tolist()})
            if answer.code != 200 or answer.json()["outputs"] != (data + 1).tolist():
                wrong.append((index, step, answer))
        front_end.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_memory_is_kept_per_call(server):
    front_end = KserveGrpc(server)
    data = np.zeros((1, 3, 224, 224), np.float32)

    def calls(count):
        for _ in range(count):
            assert front_end.infer("sink", [tensor("x", "FP32", data)]).ok

    calls(100)
    before = server.resident_bytes()
    calls(300)
    assert server.resident_bytes() - before < 60_000_000
    assert pathlib.Path(f"/proc/{server.process.pid}").exists()
    front_end.close()


def test_requests_that_never_come_whole_do_not_hold_up_the_end(models, tmp_path):
    args = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU", "--grace_seconds", "30"]
    server = Server(tmp_path, *args).wait_ready()
    try:
        host, port = server.rest.split(":")
        with socket.create_connection((host, int(port))) as header, socket.create_connection((host, int(port))) as body:
            header.sendall(b"POST /v2/mod")
            body.sendall(b"POST /v2/models/dummy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert server.http("GET", "/v2/health/live").code == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.wait_exit(20) == 0
    finally:
        server.kill()
