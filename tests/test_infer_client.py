"""`switchyard infer`: the client in the box, over all four protocols."""

import json
import re

import numpy as np
import pytest

from harness import run_binary

PROTOCOLS = ["kserve-grpc", "kserve-rest", "tfs-grpc", "tfs-rest"]
TEN = [[float(i) / 4 for i in range(10)]]


@pytest.fixture
def infer(server):
    def call(protocol, model, *args):
        url = server.grpc if protocol.endswith("grpc") else server.rest
        return run_binary("infer", "--url", url, "--protocol", protocol, "--model", model, *args)

    return call


def outputs(done):
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return {item["name"]: item for item in document["outputs"]}, document["latency_ms"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_json_values(infer, protocol):
    found, latency = outputs(infer(protocol, "dummy", "--input", f"b={json.dumps(TEN)}", "--json"))
    assert found["a"]["datatype"] == "FP32" and found["a"]["shape"] == [1, 10]
    assert found["a"]["data"] == [value + 1 for value in TEN[0]]
    assert latency


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files(infer, protocol, tmp_path):
    data = np.array(TEN, np.float32)
    (tmp_path / "data.json").write_text(json.dumps(TEN))
    (tmp_path / "data.bin").write_bytes(data.tobytes())
    np.save(tmp_path / "data.npy", data)
    for name in ("data.json", "data.bin", "data.npy"):
        found, _ = outputs(infer(protocol, "dummy", "--input", f"b=@{tmp_path / name}", "--json"))
        assert found["a"]["data"] == (data + 1).reshape(-1).tolist(), name


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_several_inputs_and_outputs(infer, protocol):
    found, _ = outputs(
        infer(
            protocol, "add_two_inputs", "--input", f"input1={json.dumps(TEN)}", "--input", f"input2={json.dumps(TEN)}", "--json"
        )
    )
    assert found["sum"]["data"] == [2 * value for value in TEN[0]]
    found, _ = outputs(infer(protocol, "two_outputs", "--input", "x=[[1,2,3,4]]", "--json"))
    assert found["doubled"]["data"] == [2, 4, 6, 8] and found["total"]["data"] == [10]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_is_the_same_every_time(infer, protocol):
    args = ["--input", "b=random", "--shape", "b=2,10", "--json"]
    first, _ = outputs(infer(protocol, "dynamic_batch", *args))
    second, _ = outputs(infer(protocol, "dynamic_batch", *args))
    assert first == second and first["a"]["shape"] == [2, 10]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_strings(infer, protocol):
    found, _ = outputs(infer(protocol, "passthrough_string", "--input", 'my_name=["one", "zwö"]', "--json"))
    assert found["my_name"]["data"] == ["one", "zwö"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_repeat_prints_latencies(infer, protocol):
    done = infer(protocol, "dummy", "--input", "b=random", "--repeat", "50", "--concurrency", "4")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b50\b", done.stdout) and "p99" in done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text(infer, protocol):
    done = infer(protocol, "dummy", "--input", f"b={json.dumps(TEN)}")
    assert done.returncode == 0 and "a FP32 (1,10)" in done.stdout and "3.25" in done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_without_inputs(infer, protocol):
    found, _ = outputs(infer(protocol, "no_inputs", "--json"))
    assert found["c"]["data"] == [0, 1, 2, 3]
    done = infer(protocol, "dummy")
    assert done.returncode == 64 and "no --input is given" in done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_failures_say_why(infer, protocol):
    done = infer(protocol, "no_such_model", "--input", "b=random")
    assert done.returncode == 1 and "no_such_model" in done.stderr
    done = infer(protocol, "dummy", "--input", "c=random")
    assert done.returncode == 64 and "b FP32" in done.stderr
    done = infer(protocol, "dummy", "--input", "b=[[1,2]]", "--shape", "b=1,2")
    assert done.returncode in (1, 64) and done.stderr
    done = infer(protocol, "dummy", "--input", "b=@/nowhere/at/all.npy")
    assert done.returncode in (1, 64) and "/nowhere/at/all.npy" in done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_there(protocol):
    done = run_binary(
        "infer", "--url", "127.0.0.1:1", "--protocol", protocol, "--model", "m", "--input", "b=random", "--timeout_ms", "2000"
    )
    assert done.returncode == 1 and done.stderr
