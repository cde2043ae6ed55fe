"""The folder of compiled models: hits and misses in the status, damage, the limit, and several servers over one folder."""

import concurrent.futures
import json

import numpy as np
import onnx
import pytest

from clients import KserveRest, tensor
from conftest import write_config
from harness import Server, run_binary

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


def start(folder, models, cache, *args):
    model = ["--model_name", "dummy", "--model_path", models / "dummy", "--target_device", "CPU"]
    return Server(folder, *model, "--cache_dir", cache, *args)


def placement(server, model="dummy"):
    return server.http("GET", f"/v1/models/{model}/placement").json()


def check(server):
    client = KserveRest(server)
    outcome = client.infer("dummy", [tensor("b", "FP32", TEN)])
    client.close()
    assert outcome.ok
    return next(iter(outcome.outputs.values())).flat().tolist()


def test_hit_and_miss_with_the_time(models, tmp_path):
    answers = []
    for expected in ("miss", "hit"):
        with start(tmp_path, models, tmp_path / "cache") as server:
            told = placement(server)
            assert told["cache"] == expected and told["compile_ms"] > 0
            assert server.metric(f'^switchyard_load_seconds.*cache="{expected}"') > 0
            answers.append(check(server))
    assert answers[0] == answers[1]


def test_weights_in_a_file_of_their_own_are_known(tmp_path):
    """An ONNX model's, which its file only names."""
    folder = tmp_path / "added" / "1"
    folder.mkdir(parents=True)
    names = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 10]) for name in "ba"]
    weights = onnx.numpy_helper.from_array(np.full((1, 10), 1, np.float32), "w")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["b", "w"], ["a"])], "g", names[:1], names[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)

    def serve():
        args = ["--model_name", "dummy", "--model_path", folder.parent, "--target_device", "CPU"]
        with Server(tmp_path, *args, "--cache_dir", tmp_path / "cache") as server:
            return placement(server)["cache"], check(server)

    assert [serve(), serve()] == [(expected, (TEN + 1).ravel().tolist()) for expected in ("miss", "hit")]
    (folder / "weights.data").write_bytes(np.full(10, 5, np.float32).tobytes())
    assert [serve(), serve()] == [(expected, (TEN + 5).ravel().tolist()) for expected in ("miss", "hit")]


def test_a_damaged_blob_is_set_aside(models, tmp_path):
    cache = tmp_path / "cache"
    with start(tmp_path, models, cache):
        pass
    (blob,) = cache.glob("*.blob")
    good = blob.read_bytes()
    blob.write_bytes(good[: len(good) // 2] + bytes(64) + good[len(good) // 2 + 64 :])
    with start(tmp_path, models, cache) as server:
        told = placement(server)
        assert told["cache"] == "miss" and any("set aside" in reason for reason in told["reasons"])
        check(server)
    assert len(list(cache.glob("*.bad"))) == 1
    with start(tmp_path, models, cache) as server:
        assert placement(server)["cache"] == "hit"


def test_the_limit(models, tmp_path):
    cache = tmp_path / "cache"
    with start(tmp_path, models, cache):
        pass
    size = sum(blob.stat().st_size for blob in cache.glob("*.blob"))
    # Room for one and a half: the second set of settings takes the place of the first.
    for streams in ("1", "2"):
        more = ["--plugin_config", json.dumps({"NUM_STREAMS": streams}), "--cache_max_bytes", 3 * size // 2]
        with start(tmp_path, models, cache, *more) as server:
            assert placement(server)["cache"] == "miss"
        assert len(list(cache.glob("*.blob"))) == len(list(cache.glob("*.sha256"))) == 1
    with start(tmp_path, models, cache, "--cache_max_bytes", 10) as server:
        assert any("--cache_max_bytes" in reason for reason in placement(server)["reasons"])
        check(server)
    assert not list(cache.glob("*.blob"))


def test_servers_share_a_folder(models, tmp_path):
    def serve(index):
        with start(tmp_path / str(index), models, tmp_path / "cache") as server:
            told = placement(server)
            assert not any("set aside" in reason for reason in told["reasons"]), told
            return check(server)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(serve, range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert not list((tmp_path / "cache").glob(".staging*")) and not list((tmp_path / "cache").glob("*.bad"))
    with start(tmp_path, models, tmp_path / "cache") as server:
        assert placement(server)["cache"] == "hit"


def test_settings_of_one_model_do_not_take_each_others_place(models, tmp_path):
    entries = [
        {"name": f"streams{n}", "base_path": str(models / "dummy"), "target_device": "CPU", "plugin_config": {"NUM_STREAMS": n}}
        for n in (1, 2)
    ]
    config = write_config(tmp_path / "config.json", entries)
    for expected in ("miss", "hit", "hit"):
        with Server(tmp_path, "--config_path", config, "--cache_dir", tmp_path / "cache", "--readiness", "all") as server:
            assert [placement(server, entry["name"])["cache"] for entry in entries] == [expected] * 2


@pytest.mark.parametrize("args", [["--cache_max_bytes", "5"], ["--cache_dir", "c", "--cache_max_bytes", "-1"]])
def test_faulty_flags(models, args):
    ended = run_binary("--model_name", "dummy", "--model_path", models / "dummy", "--port", "auto", *args)
    assert ended.returncode == 64 and "cache_max_bytes" in ended.stderr
