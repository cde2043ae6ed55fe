"""KServe's statistics and model-configuration extensions, as Triton's own clients ask for them, over gRPC and REST."""

import threading

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from conftest import write_config
from harness import Server

CALLS = 7


@pytest.fixture(scope="module", params=["grpc", "http"])
def triton(request, models, tmp_path_factory):
    """(module, client, server) of one of the two flavours, each with a server of its own: what is counted is exact."""
    folder = tmp_path_factory.mktemp("reports")
    arguments = ("--model_name", "m", "--model_path", models / "accumulator", "--target_device", "CPU")
    with Server(folder, *arguments) as server:
        module, address = (triton_grpc, server.grpc) if request.param == "grpc" else (triton_http, server.rest)
        with module.InferenceServerClient(address) as client:
            yield module, client, server


def statistics(triton, *args):
    module, client, _ = triton
    if module is triton_grpc:
        answer = client.get_inference_statistics(*args, as_json=True)
    else:
        answer = client.get_inference_statistics(*args)
    return answer["model_stats"]


def config(triton):
    module, client, _ = triton
    return client.get_model_config("m", as_json=True)["config"] if module is triton_grpc else client.get_model_config("m")


def infer(triton, size=10, **sequence):
    module, client, _ = triton
    tensor = module.InferInput("x", [1, size], "FP32")
    tensor.set_data_from_numpy(np.ones((1, size), np.float32))
    return client.infer("m", [tensor], **sequence)


def test_statistics_count_what_was_called(triton):
    (before,) = statistics(triton)
    assert before["name"] == "m" and before["version"] == "1"
    assert int(before.get("inference_count", 0)) == int(before.get("last_inference", 0)) == 0
    for call in range(CALLS):
        infer(triton, sequence_id=1, sequence_start=call == 0, sequence_end=call == CALLS - 1)
    for _ in range(2):
        with pytest.raises(InferenceServerException):
            infer(triton, size=11, sequence_id=1, sequence_start=True)
    # Counted once the answer is on its way: the last one may not be yet.
    (after,) = statistics(triton, "m", "1")
    assert statistics(triton, "m") == [after]
    assert int(after["inference_count"]) == int(after["execution_count"]) == CALLS
    assert int(after["last_inference"]) > 1_500_000_000_000, "milliseconds since 1970"
    parts = {name: (int(value["count"]), int(value["ns"])) for name, value in after["inference_stats"].items() if value}
    assert parts["success"][0] == parts["queue"][0] == parts["compute_infer"][0] == CALLS
    assert parts["fail"][0] == 2 and parts["fail"][1] > 0
    assert parts["compute_infer"][1] > 0
    whole = sum(parts[name][1] for name in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert whole == pytest.approx(parts["success"][1], abs=1)


def test_statistics_of_what_is_not_there(triton):
    with pytest.raises(InferenceServerException) as error:
        statistics(triton, "other")
    assert error.value.status() in ("StatusCode.NOT_FOUND", "404")
    with pytest.raises(InferenceServerException):
        statistics(triton, "m", "9")


def test_the_configuration(triton):
    found = config(triton)
    assert found["name"] == "m" and found["platform"] == "OpenVINO" and found["backend"] == "openvino"
    (x,) = found["input"]
    assert x["name"] == "x" and x["data_type"] == "TYPE_FP32" and [int(dim) for dim in x["dims"]] == [1, 10]
    assert [output["name"] for output in found["output"]] == ["sum", "count"]
    assert int(found.get("max_batch_size", 0)) == 0
    (group,) = found["instance_group"]
    assert group["kind"] == "KIND_CPU" and int(group["count"]) >= 1
    assert int(found["sequence_batching"]["max_sequence_idle_microseconds"]) == 5 * 60 * 1_000_000
    assert found["parameters"]["target_device"]["string_value"] == "CPU"


def test_the_server_says_that_it_has_them(triton):
    module, client, _ = triton
    extensions = client.get_server_metadata(as_json=True) if module is triton_grpc else client.get_server_metadata()
    assert {"binary_tensor_data", "sequence", "statistics", "model_configuration"} <= set(extensions["extensions"])


def test_all_models_by_plain_http(triton):
    server = triton[2]
    assert [model["name"] for model in server.http("GET", "/v2/models/stats").json()["model_stats"]] == ["m"]
    assert server.http("GET", "/v2/models/m/versions/1/config").json()["name"] == "m"
    assert server.http("GET", "/v2/models/other/config").code == server.http("GET", "/v2/models/other/stats").code == 404


@pytest.fixture(scope="module")
def joining(models, tmp_path_factory):
    entry = {"name": "joined", "base_path": str(models / "dynamic_batch"), "target_device": "CPU",
             "dynamic_batching": {"max_batch_size": 8, "max_delay_us": 100000}}
    plain = {"name": "plain", "base_path": str(models / "dynamic_batch"), "target_device": "CPU"}
    folder = tmp_path_factory.mktemp("joining")
    with Server(folder, "--config_path", write_config(folder / "config.json", [entry, plain])) as server:
        yield server


def report_of(server, model):
    (report,) = server.http("GET", f"/v2/models/{model}/stats").json()["model_stats"]
    return report


def call_rows(server, model, rows):
    body = {"inputs": [{"name": "b", "shape": [rows, 10], "datatype": "FP32", "data": [0.0] * (10 * rows)}]}
    assert server.http("POST", f"/v2/models/{model}/infer", body).code == 200


def test_rows_and_inferences_of_calls_that_are_joined(joining):
    """Four calls of two rows fill a batch; one of three rows waits and runs alone."""
    threads = [threading.Thread(target=call_rows, args=(joining, "joined", 2)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    call_rows(joining, "joined", 3)
    report = report_of(joining, "joined")
    assert report["inference_count"] == 11
    assert report["inference_stats"]["success"]["count"] == 5
    sizes = {batch["batch_size"]: batch["compute_infer"] for batch in report["batch_stats"]}
    # A machine that is busy may not bring the four together in time.
    assert 2 <= report["execution_count"] == sum(infer["count"] for infer in sizes.values()) <= 5
    assert sum(size * infer["count"] for size, infer in sizes.items()) == 11
    assert sizes[3]["count"] == 1 and all(infer["ns"] > 0 for infer in sizes.values())


def test_rows_of_calls_that_run_alone(joining):
    for rows in (1, 5, 5):
        call_rows(joining, "plain", rows)
    report = report_of(joining, "plain")
    assert report["inference_count"] == 11 and report["execution_count"] == 3
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in report["batch_stats"]] == [(1, 1), (5, 2)]
    with triton_grpc.InferenceServerClient(joining.grpc) as client:
        (same,) = client.get_inference_statistics("plain", as_json=True)["model_stats"]
    assert [int(batch["batch_size"]) for batch in same["batch_stats"]] == [1, 5]
    assert same["batch_stats"][1]["compute_infer"]["count"] == "2"


def test_the_configuration_of_a_model_that_joins_calls(joining):
    found = joining.http("GET", "/v2/models/joined/config").json()
    assert found["max_batch_size"] == 8 and found["input"][0]["dims"] == [10] and found["output"][0]["dims"] == [10]
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 100000
    assert found["dynamic_batching"]["priority_levels"] == 3 and found["dynamic_batching"]["default_priority_level"] == 2
    with triton_grpc.InferenceServerClient(joining.grpc) as client:
        same = client.get_model_config("joined", as_json=True)["config"]
    assert same["max_batch_size"] == 8 and same["dynamic_batching"]["max_queue_delay_microseconds"] == "100000"
    plain = joining.http("GET", "/v2/models/plain/config").json()
    assert plain["max_batch_size"] == 0 and plain["input"][0]["dims"] == [-1, 10] and "dynamic_batching" not in plain
