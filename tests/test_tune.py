"""`switchyard tune` on real models: what it prints, what it writes, and that a server takes it."""

import json
import signal
import subprocess
import time
from xml.etree import ElementTree

import openvino
import pytest

from conftest import magika
from harness import ROOT, Server, binary, run_binary, sanitized


def tune(model, *arguments):
    return run_binary("tune", "--model_path", str(model), *arguments, timeout_s=120)


@pytest.fixture(scope="module")
def tuned(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    output = str(folder / "best.json")
    done = tune(models / "dummy", "--model_name", "dummy", "--time_budget", "4s", "--json", "--output", output,
                "--batch_size", "3", "--mean", "2", "--device_timeout_ms", "5000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


def test_ranks_what_it_measured_and_marks_the_default(tuned):
    _, result, progress = tuned
    assert result["objective"] == "throughput" and not result["interrupted"] and result["seconds"] < 10
    names = [one["name"] for one in result["candidates"]]
    assert {"default", "CPU THROUGHPUT f32", "CPU LATENCY f32"} <= set(names)
    assert [one["name"] for one in result["candidates"] if one["default"]] == ["default"]
    best = next(one for one in result["candidates"] if one["name"] == result["best"])
    default = next(one for one in result["candidates"] if one["default"])
    assert best["state"] == "best" and best["per_second"] > 0 and best["score"] >= default["score"] * 0.98
    assert best["max_error"] <= result["allowed_error"]
    assert "round 1 of" in progress and "final round" in progress


def test_a_server_takes_the_config_that_it_wrote(tuned):
    folder, result, _ = tuned
    entry = json.loads((folder / "best.json").read_text())["model_config_list"][0]["config"]
    assert entry["name"] == "dummy" and result["reason"] in entry["notes"]
    with Server(folder, "--config_path", str(folder / "best.json")) as server:
        answer = server.http("POST", "/v1/models/dummy:predict", {"instances": [list(range(10))] * 3})
        assert answer.json()["predictions"] == [[float(i - 1) for i in range(10)]] * 3, "with the model's own settings"
    assert (entry["batch_size"], entry["mean"], entry["device_timeout_ms"]) == ("3", "2", 5000)


def test_the_picture_has_a_point_for_each_candidate(tuned):
    folder, result, _ = tuned
    picture = ElementTree.parse(folder / "best.svg").getroot()
    points = picture.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(points) == sum(one["per_second"] is not None for one in result["candidates"])


def bench_model(name):
    """The path that scripts/fetch_bench_models tells."""
    done = subprocess.run([ROOT / "scripts/fetch_bench_models", name], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(sanitized(), reason="what is measured here means nothing under a sanitizer")
@pytest.mark.parametrize(
    "model, flags",
    [
        (magika, ("--time_budget", "6s")),
        pytest.param(lambda: bench_model("ppocr_det"), ("--time_budget", "40s", "--input_shape", "x=1,3,320,320"),
                     marks=pytest.mark.slow),
    ],
    ids=["magika", "ppocr_det"],
)  # fmt: skip
def test_what_is_less_exact_than_asked_for_is_not_taken(model, flags):
    """Real weights: bf16, which every processor with AVX-512 takes, moves their answers by more than a thousandth."""
    done = tune(model(), "--target_device", "CPU", "--objective", "latency", "--max_error", "1e-3", "--json", *flags)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    best = next(one for one in result["candidates"] if one["name"] == result["best"])
    assert best["max_error"] <= 1e-3
    inexact = [one for one in result["candidates"] if one["max_error"] is not None and one["max_error"] > 1e-3]
    assert all(one["state"] == "not exact" for one in inexact), inexact
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert any("bf16" in one["name"] for one in inexact), result["candidates"]


def test_an_interrupt_keeps_what_it_has(models, tmp_path):
    process = subprocess.Popen([str(binary()), "tune", "--model_path", str(models / "dummy"), "--time_budget", "60s", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = []
    while not any(": default: " in line for line in seen):
        line = process.stderr.readline()
        assert line, "it ended before it measured anything"
        seen.append(line)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and time.monotonic() - begin < 15
    result = json.loads(out)
    assert result["interrupted"] and any(one["name"] == "default" for one in result["candidates"])


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--objective", "speed"], "expected throughput, latency or goodput"),
        (["--input", "c=random"], "the model has no such input"),
        (["--input_shape", "c=1,10"], "--input_shape c: the model has no such input"),
        (["--target_device", "XPU"], "XPU"),
        (["--output", "/no/such/folder/best.json", "--time_budget", "60s"], "in a folder that is there"),
        (["--output", "/tmp", "--time_budget", "60s"], 'expected a file, got the folder "/tmp"'),
        (["--p99_ms", "5"], "limit of --objective goodput"),
    ],
)
def test_faults_name_the_remedy(models, arguments, text):
    done = tune(models / "dummy", *arguments)
    assert done.returncode in (1, 64) and text in done.stderr, done
