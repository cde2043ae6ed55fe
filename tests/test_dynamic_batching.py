"""dynamic_batching: calls of many clients in one inference, and each client gets its own rows."""

import json
import threading
import time

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from tritonclient import grpc as triton

from clients import FRONT_ENDS, KserveGrpc, KserveRest, tensor
from conftest import write_config
from harness import Server, run_binary, wait_until
from openapi import Api
from testing.models import ir

API = Api()
WIDTH = 1024
# Diagonal weights, so that every row of an answer tells whose it is, and the device has something to do all the same.
FACTORS = np.arange(1, WIDTH + 1, dtype=np.float32) / WIDTH


def save(folder, model):
    (folder / "1").mkdir(parents=True, exist_ok=True)
    ov.save_model(model, folder / "1" / "model.xml", compress_to_fp16=False)
    return folder


def wide_model(batch=1):
    x = ops.parameter(ov.PartialShape([batch, WIDTH]), np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    node = x
    for weights in (np.eye(WIDTH, dtype=np.float32), np.diag(FACTORS)):
        node = ops.matmul(node, ops.constant(weights), False, False)
    node.output(0).get_tensor().set_names({"y"})
    return ov.Model([ops.result(node)], [x], "wide")


def stateful_model():
    x = ops.parameter([1, 4], np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    read = ops.read_value(x, "memory")
    total = ops.add(read, x)
    total.output(0).get_tensor().set_names({"y"})
    return ov.Model([ops.result(total)], [ops.assign(total, "memory")], [x], "stateful")


def fixed_model():
    """Puts a constant of one row beside its input."""
    x = ops.parameter([1, 10], np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    joined = ops.concat([x, ops.constant(np.ones((1, 3), np.float32))], 1)
    joined.output(0).get_tensor().set_names({"y"})
    return ov.Model([ops.result(joined)], [x], "fixed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("wide"), wide_model())


def serve(folder, model, max_batch_size=8, max_delay_us=3000, *more, **keys):
    batching = json.dumps({"max_batch_size": max_batch_size, "max_delay_us": max_delay_us, **keys})
    flags = ["--model_name", "m", "--model_path", model, "--target_device", "CPU", "--dynamic_batching", batching]
    # Exact in FP32: with another precision the rows would be a little off.
    return Server(folder, *flags, "--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}', *more)


def ask(client, rows, seed):
    """Random rows, and whether the answer is theirs."""
    data = np.random.default_rng(seed).integers(0, 99, (rows, WIDTH)).astype(np.float32)
    got = client.infer("m", [tensor("x", "FP32", data)])
    assert got.ok, got
    answer = np.asarray(got.outputs["y"].data, np.float32).reshape(-1, WIDTH)
    assert answer.shape == data.shape
    np.testing.assert_allclose(answer, data * FACTORS, rtol=1e-5)


def batches(server):
    """How many inferences ran, and how many rows they had."""
    return server.metric(r'switchyard_batch_size_count{.*}'), server.metric(r'switchyard_batch_size_sum{.*}')


def run_clients(count, connect, work):
    """`work(client, number)` on `count` threads at once, each with a client of its own; none may fail."""
    faults = []

    def run(number):
        client = connect(number)
        try:
            work(client, number)
        except Exception as fault:
            faults.append(f"client {number}: {fault!r}")
        finally:
            client.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda kind: kind.name)
def test_32_clients_get_their_own_rows(model, tmp_path, front_end):
    def work(client, number):
        for i in range(6):
            ask(client, 1 + (number + i) % 3, seed=100 * number + i)

    with serve(tmp_path, model) as server:
        run_clients(32, lambda number: front_end(server), work)
        count, rows = batches(server)
        calls = 32 * 6
        assert rows == sum(1 + (number + i) % 3 for number in range(32) for i in range(6))
        assert count < calls / 1.2, "calls were joined"
        told = server.http("GET", "/v1/models/m/placement").json()
        API.check("Placement", told)
        assert told["dynamic_batching"]["batches"] == count
        assert told["dynamic_batching"]["calls"] == calls == told["by_device"]["CPU"]["requests_served"]
        sizes = {int(size) for size in told["dynamic_batching"]["cost_us"]}
        assert max(sizes) <= 8 and len(sizes) > 1, sizes


def test_a_lone_call_waits_for_the_delay_and_no_longer(model, tmp_path):
    with serve(tmp_path, model, 8, 200_000) as server:
        client = KserveGrpc(server)
        took = []
        ask(client, 1, 0)  # with a deadline: not held before the first cost is known
        for i in range(5):
            start = time.monotonic()
            ask(client, 1, i)
            took.append(time.monotonic() - start)
        client.close()
        assert min(took) >= 0.19, took
        assert sorted(took)[2] < 0.35, took
        assert batches(server) == (6, 6)


def test_a_full_batch_does_not_wait(model, tmp_path):
    with serve(tmp_path, model, 4, 5_000_000) as server:
        ask(KserveGrpc(server), 1, 0)
        start = time.monotonic()
        threads = [threading.Thread(target=lambda n=n: ask(KserveGrpc(server), 2, n)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - start < 4
        assert batches(server) == (2, 5)


def test_deadlines_are_kept_or_refused_before_they_run(model, tmp_path):
    with serve(tmp_path, model, 8, 2_000_000) as server:
        body = {"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [1.0] * WIDTH}]}
        body["parameters"] = {"timeout": 1_000_000}
        for _ in range(3):
            start = time.monotonic()
            assert server.http("POST", "/v2/models/m/infer", body).code == 200
            assert time.monotonic() - start < 1.1, "held no longer than the deadline allows"
        body["parameters"] = {"timeout": 20}
        answer = server.http("POST", "/v2/models/m/infer", body)
        assert answer.code == 504, answer


def test_more_rows_than_the_limit(model, tmp_path):
    with serve(tmp_path, model, 4, 0) as server:
        metadata = server.http("GET", "/v2/models/m").json()
        assert metadata["inputs"][0]["shape"] == [-1, WIDTH] and metadata["outputs"][0]["shape"] == [-1, WIDTH]
        body = {"inputs": [{"name": "x", "shape": [5, WIDTH], "datatype": "FP32", "data": [1.0] * (5 * WIDTH)}]}
        answer = server.http("POST", "/v2/models/m/infer", body)
        assert answer.code == 400 and "Invalid input batch size - Expected: 1:4; Actual: 5" in answer.error


def test_a_fixed_batch_is_filled_up(tmp_path):
    folder = save(tmp_path / "model", wide_model(4))
    with serve(tmp_path, folder, 4, 1000, "--batch_size", "4") as server:
        client = KserveGrpc(server)
        for rows in (1, 3, 4):
            ask(client, rows, rows)
        client.close()
        assert batches(server) == (3, 8), "rows of clients"


def test_pictures_and_texts_are_joined_like_tensors(tmp_path):
    entries = []
    for name, kind, shape in (("picture", ov.Type.u8, (1, 16, 16, 3)), ("text", ov.Type.string, (1, 2))):
        (tmp_path / name / "1").mkdir(parents=True)
        ir.passthrough(tmp_path / name / "1", kind, shape, name="data")
        batching = {"max_batch_size": 8, "max_delay_us": 20_000}
        entries.append({"name": name, "base_path": str(tmp_path / name), "target_device": "CPU", "dynamic_batching": batching})

    def work(front, number):
        for i in range(5):
            rows = 1 + (number + i) % 2
            colours = np.random.default_rng(100 * number + i).integers(0, 256, (rows, 1, 1, 3)).astype(np.uint8)
            pictures = np.broadcast_to(colours, (rows, 16, 16, 3))
            encoded = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
            if number % 2 == 0:
                got = front.infer("picture", [tensor("data", "BYTES", encoded)])
                assert got.ok, got
                assert np.array_equal(np.asarray(got.outputs["data"].data).reshape(pictures.shape), pictures)
            texts = [[f"client {number}".encode(), f"call {i} row {row}".encode()] for row in range(rows)]
            got = front.infer("text", [tensor("data", "BYTES", texts)])
            assert got.ok, got
            answer = [item.encode() if isinstance(item, str) else item for item in got.outputs["data"].flat()]
            assert answer == [item for row in texts for item in row]

    with Server(tmp_path, "--config_path", write_config(tmp_path / "config.json", entries)) as server:
        run_clients(12, lambda number: (KserveGrpc, KserveRest)[number % 2](server), work)
        for name, calls in (("picture", 30), ("text", 60)):
            told = server.http("GET", f"/v1/models/{name}/placement").json()["dynamic_batching"]
            assert told["calls"] == calls and told["batches"] < calls, told


def test_priorities_over_both_protocols(model, tmp_path):
    with serve(tmp_path, model, 8, 0, priority_levels=4) as server:
        data = np.ones((1, WIDTH), np.float32)
        given = triton.InferInput("x", data.shape, "FP32")
        given.set_data_from_numpy(data)
        with triton.InferenceServerClient(server.grpc) as client:
            for priority in (0, 1, 4, 2**63):
                np.testing.assert_allclose(client.infer("m", [given], priority=priority).as_numpy("y")[0], FACTORS, rtol=1e-5)
        body = {"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [1.0] * WIDTH}]}
        for priority, code in ((0, 200), (1, 200), (9, 200), (-1, 400), ("high", 400), (1.5, 400)):
            body["parameters"] = {"priority": priority}
            answer = server.http("POST", "/v2/models/m/infer", body)
            assert answer.code == code, answer
            assert code == 200 or "priority" in answer.error


def test_what_cannot_be_joined_is_refused_with_the_remedy(tmp_path):
    for name, made, wanted in (
        ("state", stateful_model(), "dynamic_batching: the model keeps state between calls"),
        ("fixed", fixed_model(), "or give batch_size"),
    ):
        folder = save(tmp_path / name, made)
        flags = ["--model_name", "m", "--model_path", folder, "--target_device", "CPU", "--rest_port", "auto"]
        ended = run_binary(*flags, "--rest_bind_address", "127.0.0.1", "--dynamic_batching", '{"max_batch_size": 4}')
        assert ended.returncode != 0
        assert wanted in ended.stdout + ended.stderr, ended


def test_faulty_values_end_the_start(model):
    for value, wanted in (
        ('{"max_batch_size": 0}', "--dynamic_batching: max_batch_size: expected an integer from 1 to 4096, got the number 0"),
        ("16", '--dynamic_batching: expected an object such as {"max_batch_size": 16, "max_delay_us": 2000}'),
    ):
        ended = run_binary("--model_name", "m", "--model_path", model, "--port", "auto", "--dynamic_batching", value)
        assert ended.returncode == 64 and wanted in ended.stdout + ended.stderr, ended
    flags = ["--model_name", "m", "--model_path", model, "--port", "auto", "--dynamic_batching", '{"max_batch_size": 4}']
    for more in (["--batch_size", "auto"], ["--target_device", "BATCH:CPU(4)"]):
        ended = run_binary(*flags, *more)
        assert ended.returncode == 64 and "dynamic_batching: cannot stand beside" in ended.stdout + ended.stderr, ended


def test_a_stop_finishes_what_was_joined(model, tmp_path):
    with serve(tmp_path, model, 8, 300_000) as server:
        done = []
        ask(KserveGrpc(server), 1, 0)
        threads = [threading.Thread(target=lambda n=n: done.append(ask(KserveGrpc(server), 1, n))) for n in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.metric(r'switchyard_queue_length{.*}') >= 3)
    for thread in threads:
        thread.join()
    assert len(done) == 3
