"""Triton's load generator: what it asks for is answered, and what it reads off the server's statistics adds up."""

import csv
import subprocess

import pytest

from conftest import write_config
from harness import ROOT, Server


@pytest.fixture(scope="module")
def perf_analyzer():
    done = subprocess.run([ROOT / "scripts" / "fetch_perf_analyzer"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def loaded(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("perf")
    entries = [{"name": "sink", "base_path": str(models / "sink"), "target_device": "CPU"},
               {"name": "joined", "base_path": str(models / "dynamic_batch"), "target_device": "CPU",
                "dynamic_batching": {"max_batch_size": 16, "max_delay_us": 1000}}]
    with Server(folder, "--config_path", write_config(folder / "config.json", entries), "--allow_shared_memory") as running:
        yield running


def statistics(server, model):
    (report,) = server.http("GET", f"/v2/models/{model}/stats").json()["model_stats"]
    return report


def run(perf_analyzer, server, folder, model, protocol, *more):
    """The row of its report."""
    report = folder / "report.csv"
    address = server.grpc if protocol == "grpc" else server.rest
    command = [perf_analyzer, "-m", model, "-u", address, "-i", protocol, "--concurrency-range", "4", "--request-count", "200",
               "-f", report, *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = csv.DictReader(report.open())
    return {name: float(value) for name, value in row.items() if value}


@pytest.mark.parametrize("where", ["none", "system"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_one_call_one_inference(perf_analyzer, loaded, tmp_path, protocol, where):
    before = statistics(loaded, "sink")
    row = run(perf_analyzer, loaded, tmp_path, "sink", protocol, "--shared-memory", where)
    after = statistics(loaded, "sink")
    calls = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    assert calls >= 200 and after["inference_stats"]["fail"]["count"] == before["inference_stats"]["fail"]["count"]
    assert after["inference_count"] - before["inference_count"] == calls
    assert after["execution_count"] - before["execution_count"] == calls
    (batch,) = after["batch_stats"]
    assert batch["batch_size"] == 1 and batch["compute_infer"]["count"] == after["execution_count"]
    assert row["Inferences/Second"] > 0 and row["Server Compute Infer"] > 0
    # Microseconds: what the server says lies within what the client saw.
    server = sum(row[name] for name in row if name.startswith("Server "))
    assert server < row["Avg latency"] if "Avg latency" in row else server < row["p99 latency"]


JSON = ("--input-tensor-format", "json", "--output-tensor-format", "json")
TFS = ("--service-kind", "tfserving", "--model-signature-name", "serving_default", "--shape", "image:1,3,224,224")


@pytest.mark.parametrize("protocol, more", [("http", JSON), ("grpc", TFS)], ids=["KServe REST JSON", "TFS gRPC"])
def test_the_other_protocols(perf_analyzer, loaded, tmp_path, protocol, more):
    """It has no TensorFlow Serving REST."""
    before = statistics(loaded, "sink")["inference_stats"]
    row = run(perf_analyzer, loaded, tmp_path, "sink", protocol, *more)
    after = statistics(loaded, "sink")["inference_stats"]
    assert after["success"]["count"] - before["success"]["count"] >= 200
    assert after["fail"]["count"] == before["fail"]["count"]
    assert row["Inferences/Second"] > 0


@pytest.mark.parametrize("where", ["none", "system"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_joined_calls(perf_analyzer, loaded, tmp_path, protocol, where):
    before = statistics(loaded, "joined")
    more = () if where == "none" else ("--shared-memory", "system", "--output-shared-memory-size", 160)
    row = run(perf_analyzer, loaded, tmp_path, "joined", protocol, "-b", 4, *more)
    after = statistics(loaded, "joined")
    calls = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    assert calls >= 200
    assert after["inference_count"] - before["inference_count"] == 4 * calls
    executions = after["execution_count"] - before["execution_count"]
    assert calls / 4 <= executions <= calls
    sizes = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in after["batch_stats"]}
    assert set(sizes) <= {4, 8, 12, 16}
    assert sum(sizes.values()) == after["execution_count"]
    assert sum(size * count for size, count in sizes.items()) == after["inference_count"]
    assert row["Inferences/Second"] > 0
