"""The rows of the table. Repeats go round all servers of a workload, so that a drift of the machine meets all of them."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile

import numpy as np

from . import clients, paths, servers, wire

PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9}
OPEN_LOAD = 0.7
# An open loop lasts until so many calls were due, even if that takes longer than one measurement, but not for ever.
LEAST_CALLS = 20
LONGEST = 8
# A model that computes for so long has no need of many calls in flight, and they would take long to finish.
SLOW_US = 3000


@dataclasses.dataclass(frozen=True)
class Plan:
    seconds: float  # of one measurement
    warm_s: float
    repeats: int
    peer_repeats: int
    peers: tuple
    server_pin: tuple
    client_pin: tuple
    client_core: int = 1  # one of the client's


def told(calls, part):
    """Were ten calls slower than that percentile? With fewer it is chance."""
    return part == 50 or calls * (100 - part) >= 1000


class Row:
    """One line of the table while its samples come in: a list for each figure, one value for each repeat."""

    def __init__(self, workload, server, protocol, note=""):
        self.head = {"workload": workload.name, "server": server, "protocol": protocol, "note": note}
        self.samples = {}
        self.latencies = {"c1": [], "open": []}
        self.bytes = {}
        self.rates = []
        self.late_s = 0.0
        self.error = None

    def add(self, **figures):
        for name, value in figures.items():
            self.samples.setdefault(name, []).append(value)

    def add_latencies(self, kind, values):
        self.latencies[kind].append(values)
        for name, part in PERCENTILES.items():
            if told(len(values), part):
                self.add(**{f"{kind}_{name}_us": float(np.percentile(values, part))})

    def pooled(self, kind):
        """Percentiles over all repeats; none where fewer than ten calls were slower than it."""
        if not self.latencies[kind]:
            return None
        values = np.concatenate(self.latencies[kind])
        known = {name: part for name, part in PERCENTILES.items() if told(len(values), part)}
        return {"calls": len(values), **{name: float(np.percentile(values, part)) for name, part in known.items()}}

    def result(self):
        found = {**self.head, "error": self.error, "samples": self.samples, **self.bytes}
        found["c1_us"], found["open_us"] = self.pooled("c1"), self.pooled("open")
        if self.rates:
            found["open_rate_per_s"] = float(np.median(self.rates))
            found["open_client_late_us"] = 1e6 * self.late_s
        return found


@contextlib.contextmanager
def busy_client_core(plan):
    """As busy as the client keeps it, which polls: the client's core and the server's may share one."""
    spins = subprocess.Popen([*plan.client_pin, sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spins.kill()
        spins.wait()


def run_inprocess(workload, model, plan, folder, *more, seconds=None):
    """What bench's `inprocess run` said, with "latencies_us", an array."""
    latencies = f"{folder}/inprocess.f32"
    command = [*plan.server_pin, paths.BUILD / "inprocess", "run", model, "--seconds", seconds or plan.seconds, "--latencies",
               latencies, *workload.inprocess_arguments(folder), *more]
    with contextlib.nullcontext() if "--fed_by_core" in more else busy_client_core(plan):
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout), "latencies_us": np.fromfile(latencies, np.float32)}


def open_seconds(plan, rate):
    return min(max(plan.seconds, LEAST_CALLS / rate), LONGEST * plan.seconds)


def in_process(workload, model, plan, folder, row, seed):
    said = run_inprocess(workload, model, plan, folder)
    per_s = said["calls"] / said["seconds"]
    row.add(cpu_us=said["cpu_us"], per_s=per_s, ready_s=said["ready_s"])
    row.add(peak_mb=said["peak_kb"] / 1024)
    row.add_latencies("c1", said["latencies_us"])
    rate = OPEN_LOAD * per_s
    opened = run_inprocess(workload, model, plan, folder, "--rate", rate, "--seed", seed, seconds=open_seconds(plan, rate))
    row.add_latencies("open", opened["latencies_us"])
    row.rates.append(rate)
    return said["cpu_us"]


def fed_by_socket(workload, model, plan, folder, row, limit_us):
    """The in-process loop again, but that each call's inputs come from another process, over a socket."""
    said = run_inprocess(workload, model, plan, folder, "--fed_by_core", plan.client_core)
    row.add(cpu_us=said["cpu_us"], per_s=said["calls"] / said["seconds"], ratio=said["cpu_us"] / limit_us,
            above_us=said["cpu_us"] - limit_us)


def protocol(server, request, plan, folder, row, limit_us, seed):
    """One repeat of one row: saturated, one call at a time, and an open loop at 70 % of what saturation gave."""
    slow = limit_us > SLOW_US
    at_once = {"connections": 2, "streams": 2} if slow and request.kind == "grpc" else {"connections": 4, "streams": 8}
    clients.load(server, request, folder, plan.client_pin, seconds=plan.warm_s)
    before = server.cpu_s()
    full = clients.load(server, request, folder, plan.client_pin, seconds=plan.seconds, **at_once)
    cpu_us = 1e6 * (server.cpu_s() - before) / full["calls"]
    per_s = full["calls"] / full["seconds"]
    row.add(cpu_us=cpu_us, per_s=per_s, busy=cpu_us * per_s / 1e6)
    if limit_us:
        row.add(ratio=cpu_us / limit_us, above_us=cpu_us - limit_us)
    row.bytes = {"bytes_in": round(full["bytes_sent"]), "bytes_out": round(full["bytes_received"])}
    alone = clients.load(server, request, folder, plan.client_pin, seconds=plan.seconds / 2)
    row.add_latencies("c1", alone["latencies_us"])
    rate = OPEN_LOAD * per_s
    # Enough connections that HTTP/1.1's calls wait in the server, not in the client.
    at_rate = {"connections": 4 if request.kind == "grpc" else 32}
    opened = clients.load(server, request, folder, plan.client_pin, seconds=open_seconds(plan, rate), rate=rate, seed=seed,
                          **at_rate)
    row.add_latencies("open", opened["latencies_us"])
    row.rates.append(rate)
    row.late_s = max(row.late_s, opened["late_s"])


def offer(offer, workload, model, plan, folder, rows, limit_us, seed):
    """One repeat of one server: started anew, all its protocols. What does not work is said in its rows."""
    mine = [rows[(offer.name, p)] for p in offer.protocols_for(workload)]
    if all(row.error for row in mine):
        return
    try:
        with offer.start(workload, model, folder, plan.server_pin) as server:
            for row in mine:
                if row.error:
                    continue
                name = row.head["protocol"]
                paths.progress(f"  {offer.name}, {name}")
                try:
                    protocol(server, offer.request(name, workload), plan, folder, row, limit_us, seed)
                except (clients.Failed, subprocess.TimeoutExpired) as error:
                    row.error = str(error)[:300]
                    paths.progress(f"    {row.error}")
            peak_mb = server.peak_kb() / 1024
            for row in mine:
                row.add(ready_s=server.ready_s, peak_mb=peak_mb)
    except servers.Unavailable as error:
        paths.progress(f"  {offer.name}: {error}")
        for row in mine:
            row.error = str(error)[:300]


def workload(workload, plan):
    """All rows of one workload."""
    model = workload.path()
    offers = [servers.switchyard(), *plan.peers]
    if workload.name in servers.ECHOES:
        offers.insert(0, servers.ECHOES[workload.name])
    limit = Row(workload, "in process", "")
    fed = Row(workload, "in process, fed by a socket", "", "the same loop, but that each call's inputs come over TCP from a "
              "process on the client's core, and its first output goes back: no server can do without that")
    rows = {(o.name, p): Row(workload, o.name, p, o.note) for o in offers for p in o.protocols_for(workload)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for repeat in range(plan.repeats):
            paths.progress(f"{workload.name}: repeat {repeat + 1} of {plan.repeats}")
            limit_us = in_process(workload, model, plan, folder, limit, repeat + 1)
            fed_by_socket(workload, model, plan, folder, fed, limit_us)
            for each in offers:
                if each not in plan.peers or repeat < plan.peer_repeats:
                    echo = each in servers.ECHOES.values()
                    offer(each, workload, model, plan, folder, rows, 0 if echo else limit_us, repeat + 1)
    return [limit.result(), fed.result(), *(row.result() for row in rows.values())]


def derive(rows, workload):
    """What serving adds to the sink, on top of this model's own cost: for models whose spread hides what serving adds."""
    def median(row, name):
        return float(np.median(row["samples"][name]))

    if not workload.by_sink:
        return
    of_sink = (r for r in rows if r["workload"] == workload.by_sink and r["server"] == "Switchyard" and not r["error"])
    sink = {r["protocol"]: r for r in of_sink}
    limit = next(r for r in rows if r["workload"] == workload.name and r["server"] == "in process")
    for row in rows:
        if row["workload"] == workload.name and row["server"] == "Switchyard" and row["protocol"] in sink and not row["error"]:
            above, cpu = median(sink[row["protocol"]], "above_us"), row["samples"]["cpu_us"]
            row["derived"] = {"above_us": above, "ratio": 1 + above / median(limit, "cpu_us"),
                              "spread_us": max(cpu) - min(cpu), "measured_above_us": median(row, "above_us")}


PERF_ANALYZER_TRIES = 3
# It has no TensorFlow Serving REST.
CHECKED_BY_PERF_ANALYZER = {
    "add": tuple(protocol for protocol in wire.PROTOCOLS if protocol != wire.TFS_JSON),
    "sink": (wire.KSERVE_GRPC, wire.KSERVE_BINARY),
}


def cross_check(workloads, plan):
    """Switchyard under perf_analyzer with 4 calls at once, and under our own client at the rate that came of that."""
    try:
        tool = clients.find_perf_analyzer()
    except RuntimeError as error:
        paths.progress(f"perf_analyzer: {error}")
        return {"error": str(error), "rows": []}
    rows = []
    for each in workloads:
        if each.name not in CHECKED_BY_PERF_ANALYZER:
            continue
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            with servers.start_switchyard(each, each.path(), folder, plan.server_pin) as server:
                for name in CHECKED_BY_PERF_ANALYZER[each.name]:
                    rows.append(_checked(tool, server, name, each, plan, folder))
    return {"error": None, "rows": rows}


def _by_perf_analyzer(tool, server, name, workload, plan, calls):
    """What it said, and "cpu_us", the server's, for each call. It was seen not to end, once in a while: it is tried again."""
    for attempt in range(PERF_ANALYZER_TRIES):
        counted, before = server.answered(), server.cpu_s()
        try:
            said = clients.perf_analyzer(tool, server, name, workload, plan.client_pin, calls=calls, concurrency=4)
        except clients.Failed as error:
            if attempt + 1 == PERF_ANALYZER_TRIES:
                raise
            paths.progress(f"  {error}; once more")
            continue
        cpu_s = server.cpu_s() - before
        return {"cpu_us": 1e6 * cpu_s / (server.answered() - counted), **said}
    raise AssertionError


def _checked(tool, server, name, workload, plan, folder):
    paths.progress(f"{workload.name}: {name}, by perf_analyzer")
    row = {"workload": workload.name, "protocol": name, "error": None}
    request = servers.switchyard().request(name, workload)
    connections = 4 if request.kind == "rest" else 1
    try:
        alone = clients.load(server, request, folder, plan.client_pin, seconds=plan.warm_s)
        calls = max(200, int(plan.seconds * alone["calls"] / alone["seconds"] / 4))
        said = row["perf_analyzer"] = _by_perf_analyzer(tool, server, name, workload, plan, calls)
        before = server.cpu_s()
        seconds = max(plan.seconds, LEAST_CALLS / said["per_s"])
        own = clients.load(server, request, folder, plan.client_pin, seconds=seconds, connections=connections,
                           rate=said["per_s"])
        row["own"] = {"cpu_us": 1e6 * (server.cpu_s() - before) / own["calls"], "per_s": own["calls"] / own["seconds"],
                      **{f"p{p}_us": float(np.percentile(own["latencies_us"], p)) for p in (50, 90, 99)}}
    except (clients.Failed, subprocess.TimeoutExpired) as error:
        row["error"] = str(error)[:300]
        paths.progress(f"  {row['error']}")
    return row
