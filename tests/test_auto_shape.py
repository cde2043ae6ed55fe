"""shape and batch_size "auto": an instance of the model for each shape that comes, without stopping the model."""

import json
import threading

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from clients import FRONT_ENDS, KserveGrpc, tensor
from harness import Server, wait_until
from openapi import Api

API = Api()
CHANNELS = np.arange(1, 4, dtype=np.float32)


def picture_model():
    """picture [1,3,8,8] -> weighted [1,h,w]: any height and width, but three channels."""
    picture = ops.parameter([1, 3, 8, 8], np.float32, name="picture")
    picture.output(0).get_tensor().set_names({"picture"})
    weights = ops.multiply(picture, ops.constant(CHANNELS.reshape(1, 3, 1, 1)))
    weights.set_friendly_name("weigh")
    total = ops.reduce_sum(weights, ops.constant(np.array([1], np.int64)), False)
    total.output(0).get_tensor().set_names({"weighted"})
    return ov.Model([ops.result(total)], [picture], "picture_model")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("picture")
    (folder / "1").mkdir()
    ov.save_model(picture_model(), folder / "1" / "model.xml", compress_to_fp16=False)
    return ["--model_name", "m", "--model_path", folder, "--target_device", "CPU"]


def outcome(server, shape, front_end=KserveGrpc, seed=1):
    data = np.random.default_rng(seed).integers(0, 9, shape).astype(np.float32)
    made = front_end(server)
    try:
        got = made.infer("m", [tensor("picture", "FP32", data)])
    finally:
        made.close()
    if got.ok:
        wanted = (data * CHANNELS.reshape(1, 3, 1, 1)).sum(axis=1)
        assert np.array_equal(np.asarray(got.outputs["weighted"].data, np.float32).reshape(wanted.shape), wanted)
    return got


def shapes(server):
    told = server.http("GET", "/v1/models/m/placement").json()
    API.check("Placement", told)
    rows = told["shapes"]
    return [row["shape"] for row in rows if row["state"] == "serving"]


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda kind: kind.name)
def test_any_shape_over_every_front_end(model, tmp_path, front_end):
    with Server(tmp_path, *model, "--shape", "auto") as server:
        assert server.http("GET", "/v2/models/m").json()["inputs"][0]["shape"] == [-1, -1, -1, -1]
        for shape in [(1, 3, 8, 8), (1, 3, 5, 7), (4, 3, 2, 2), (1, 3, 5, 7)]:
            assert outcome(server, shape, front_end).ok
        wait_until(lambda: shapes(server) == ["picture (1,3,5,7)", "picture (4,3,2,2)"])


def test_the_bound_holds_and_the_least_recently_used_goes(model, tmp_path):
    with Server(tmp_path, *model, "--shape", "auto", "--auto_shape_limit", "2") as server:
        for size in (1, 2, 1, 3):
            assert outcome(server, (1, 3, size, size)).ok
        wait_until(lambda: shapes(server) == ["picture (1,3,3,3)", "picture (1,3,1,1)"])
        assert outcome(server, (1, 3, 2, 2)).ok
        assert outcome(server, (1, 3, 8, 8)).ok, "the model's own shape stays"


def test_a_shape_that_the_model_cannot_take_names_the_layer(model, tmp_path):
    with Server(tmp_path, *model, "--shape", "auto") as server:
        for _ in range(2):
            body = {"inputs": [{"name": "picture", "shape": [1, 2, 1, 1], "datatype": "FP32", "data": [1, 2]}]}
            answer = server.http("POST", "/v2/models/m/infer", body)
            assert answer.code == 400, answer
            assert "picture (1,2,1,1)" in answer.error and 'layer "weigh"' in answer.error, answer.error
        assert outcome(server, (1, 3, 8, 8)).ok
        assert outcome(server, (1, 3, 3, 8)).ok


def test_batch_size_auto(model, tmp_path):
    with Server(tmp_path, *model, "--batch_size", "auto") as server:
        assert server.http("GET", "/v2/models/m").json()["inputs"][0]["shape"] == [-1, 3, 8, 8]
        for batch in (1, 5, 2, 5):
            assert outcome(server, (batch, 3, 8, 8)).ok
        assert not outcome(server, (5, 3, 8, 9)).ok
        wait_until(lambda: shapes(server) == ["picture (5,3,8,8)", "picture (2,3,8,8)"])


def test_many_clients_of_many_shapes(model, tmp_path):
    """More shapes than there is room for: every answer is right, or says that too many are being compiled."""
    with Server(tmp_path, *model, "--shape", "auto", "--auto_shape_limit", "3") as server:
        faults = []

        def client(number):
            for i in range(25):
                size = 1 + (i * 5 + number) % 6
                got = outcome(server, (1, 3, size, 4), seed=i)
                if not got.ok and "auto_shape_limit" not in str(got):
                    faults.append(got)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults[0]
        assert len(server.http("GET", "/v1/models/m/placement").json()["shapes"]) <= 3


def test_by_input_from_a_config_file(model, tmp_path):
    auto = {"shape": {"picture": "auto"}, "auto_shape_limit": 4}
    entry = {"name": "m", "base_path": str(model[3]), "target_device": "CPU", **auto}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_config_list": [{"config": entry}]}))
    with Server(tmp_path / "server", "--config_path", config) as server:
        assert outcome(server, (2, 3, 4, 4)).ok


def test_the_budget_for_memory_holds_for_instances(model, tmp_path):
    with Server(tmp_path / "a", *model, "--shape", "auto") as server:
        told = server.http("GET", "/v1/models/m/placement").json()["memory_bytes"] or 0
        own = server.metric("^switchyard_model_memory_bytes") if told else 0
        assert outcome(server, (1, 3, 2, 2)).ok
        wait_until(lambda: shapes(server) == ["picture (1,3,2,2)"])
        assert not told or server.metric("^switchyard_model_memory_bytes") > own
    one = max(told, sum(path.stat().st_size for path in model[3].rglob("*") if path.is_file()))
    with Server(tmp_path / "b", *model, "--shape", "auto", "--memory_budget", one * 7 // 2) as server:
        for size in (1, 2, 1, 3):
            assert outcome(server, (1, 3, size, size)).ok
        wait_until(lambda: shapes(server) == ["picture (1,3,3,3)", "picture (1,3,1,1)"])
    with Server(tmp_path / "c", *model, "--shape", "auto", "--memory_budget", one * 3 // 2) as server:
        body = {"inputs": [{"name": "picture", "shape": [1, 3, 1, 1], "datatype": "FP32", "data": [1, 2, 3]}]}
        answer = server.http("POST", "/v2/models/m/infer", body)
        assert answer.code == 429 and "--memory_budget: in use are m/1" in answer.json()["error"]
        assert outcome(server, (1, 3, 8, 8)).ok, "the model's own shape"
