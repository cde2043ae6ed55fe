"""Processes that load a server: our own (native/load.cpp), and perf_analyzer, which nobody here wrote."""

import json
import os
import pathlib
import re
import subprocess

import numpy as np

from . import paths, wire


class Failed(Exception):
    """Calls that were not answered as they should be."""


def load(server, request, folder, pin, *, seconds, connections=1, streams=1, rate=None, seed=1):
    """One run of bench_load: what it printed, and "latencies_us", an array."""
    folder = pathlib.Path(folder)
    body, latencies = folder / "body.bin", folder / "latencies.f32"
    body.write_bytes(request.body)
    command = [*pin, paths.BUILD / "bench_load", "--address", server.address[request.kind], "--kind", request.kind, "--path",
               request.path, "--body", body, "--seconds", seconds, "--connections", connections, "--streams", streams,
               "--latencies", latencies]
    for header in request.headers:
        command += ["--header", header]
    if rate is not None:
        command += ["--rate", rate, "--seed", seed]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=seconds + 90)
    said = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if done.returncode != 0:
        raise Failed(said.get("error") or done.stderr.strip() or "no call was answered")
    said["latencies_us"] = np.fromfile(latencies, np.float32)
    return said


PERF_ANALYZER_S = 60
PERF_ANALYZER_FLAGS = {
    wire.KSERVE_GRPC: ("--service-kind", "triton", "-i", "grpc"),
    wire.TFS_GRPC: ("--service-kind", "tfserving", "-i", "grpc", "--model-signature-name", "serving_default"),
    wire.KSERVE_BINARY: ("--service-kind", "triton", "-i", "http"),
    wire.KSERVE_JSON: ("--service-kind", "triton", "-i", "http", "--input-tensor-format", "json", "--output-tensor-format",
                       "json"),
}


def find_perf_analyzer():
    """The command's first words and its environment. Raises RuntimeError where it cannot be had."""
    script = paths.ROOT / "scripts" / "fetch_perf_analyzer"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else "scripts/fetch_perf_analyzer failed")
    return done.stdout.strip(), dict(os.environ)


def perf_analyzer(tool, server, protocol, workload, pin, *, calls, concurrency):
    """A closed loop of so many calls: per_s, p50_us, p90_us and p99_us as it tells them."""
    binary, environment = tool
    kind = "grpc" if "gRPC" in protocol else "rest"
    command = [*pin, binary, "-m", workload.name, "-u", server.address[kind], *PERF_ANALYZER_FLAGS[protocol], "--request-count",
               calls, "--concurrency-range", concurrency, "--input-data", "zero", "--percentile", 99]
    for tensor in workload.inputs:
        command += ["--shape", f"{tensor.name}:{','.join(map(str, tensor.shape))}"]
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PERF_ANALYZER_S, env=environment)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"perf_analyzer did not end within {PERF_ANALYZER_S} s") from error
    text = done.stdout + done.stderr
    found = {f"p{part}_us": re.search(rf"p{part} latency: (\d+) usec", text) for part in (50, 90, 99)}
    found["per_s"] = re.search(r"throughput: ([0-9.]+) infer/sec", text, re.IGNORECASE)
    if done.returncode != 0 or not all(found.values()):
        lines = [line for line in text.splitlines() if line.strip()]
        raise Failed(lines[-1] if lines else "perf_analyzer said nothing")
    return {name: float(match.group(1)) for name, match in found.items()}
