"""bench/compare: a change is told from noise, and its exit code says so. Nothing is measured here."""

import json
import subprocess
import sys

import pytest
from harness import ROOT

QUIET = [100.0, 101.0, 99.0, 100.5, 99.5]


def result(path, error=None, server="Switchyard", **samples):
    row = {"workload": "add", "server": server, "protocol": "KServe gRPC", "error": error, "samples": samples}
    path.write_text(json.dumps({"format": 1, "rows": [row]}))
    return path


def compare(*arguments):
    return subprocess.run([sys.executable, ROOT / "bench" / "compare", *arguments], capture_output=True, text=True, check=False)


def times(factor, values=tuple(QUIET)):
    return [factor * value for value in values]


@pytest.fixture
def old(tmp_path):
    return result(tmp_path / "old.json", ratio=QUIET, per_s=QUIET)


@pytest.mark.parametrize(
    "samples, code, verdicts",
    [
        ({"ratio": QUIET, "per_s": QUIET}, 0, {"ratio": "same", "per_s": "same"}),
        ({"ratio": times(1.2), "per_s": QUIET}, 1, {"ratio": "worse", "per_s": "same"}),
        ({"ratio": QUIET, "per_s": times(0.8)}, 1, {"ratio": "same", "per_s": "worse"}),
        ({"ratio": times(0.8), "per_s": times(1.2)}, 0, {"ratio": "better", "per_s": "better"}),
        # Certain, and too small to matter.
        ({"ratio": times(1.03), "per_s": QUIET}, 0, {"ratio": "same", "per_s": "same"}),
        # The median is a fifth worse; the samples overlap so that it means nothing.
        ({"ratio": [80.0, 120.0, 121.0, 90.0, 122.0], "per_s": QUIET}, 0, {"ratio": "same", "per_s": "same"}),
    ],
    ids=["nothing", "dearer", "slower", "better", "small", "noise"],
)
def test_verdicts(tmp_path, old, samples, code, verdicts):
    done = compare(old, result(tmp_path / "new.json", **samples), "--json")
    assert done.returncode == code, done.stderr
    assert {row["metric"]: row["verdict"] for row in json.loads(done.stdout)["rows"]} == verdicts


@pytest.mark.parametrize(
    "new, code", [([108.0, 109.0, 110.0], 1), ([101.5, 109.0, 110.0], 0)], ids=["apart", "touching"]
)
def test_few_repeats_must_be_apart_altogether(tmp_path, new, code):
    old = result(tmp_path / "old.json", ratio=[99.0, 100.0, 101.0])
    done = compare(old, result(tmp_path / "new.json", ratio=new))
    assert done.returncode == code, done.stdout
    assert "fewer than 5 repeats" in done.stdout


def test_chance_is_exact():
    sys.path.insert(0, str(ROOT / "bench"))
    from switchyard_bench.compare import chance_of_larger

    # One of 252 splits puts all five on top; with two against two, one of six, and ties share their ranks.
    assert chance_of_larger(QUIET, times(2)) == pytest.approx(1 / 252)
    assert chance_of_larger([1, 2], [3, 4]) == pytest.approx(1 / 6)
    assert chance_of_larger([1, 1], [1, 1]) == 1
    assert chance_of_larger([3, 4], [1, 2]) == 1


def test_a_row_that_fails_now_is_worse(tmp_path, old):
    done = compare(old, result(tmp_path / "new.json", error="it ended with 1"))
    assert done.returncode == 1
    assert "add, Switchyard, KServe gRPC: it was measured before, and now: it ended with 1" in done.stdout


def test_another_machine_is_no_regression(tmp_path):
    """All of it a fifth slower is the machine; a server that became slower beyond that is not."""

    def run(path, machine, server):
        rows = [
            {"server": "in process", "protocol": "", "samples": {"cpu_us": times(machine), "per_s": times(1 / machine)}},
            {"server": "Switchyard", "protocol": "KServe gRPC",
             "samples": {"c1_p50_us": times(server), "per_s": times(1 / server), "peak_mb": QUIET}},
        ]  # fmt: skip
        path.write_text(json.dumps({"format": 1, "rows": [{"workload": "add", "error": None, **row} for row in rows]}))
        return path

    old = run(tmp_path / "old.json", 1, 1)
    done = compare(old, run(tmp_path / "new.json", 1.2, 1.2))
    assert done.returncode == 0, done.stdout
    assert "CPU time of the loop in process add +20.0%" in done.stdout
    done = compare(old, run(tmp_path / "new.json", 1.2, 1.5), "--json")
    assert done.returncode == 1
    found = {row["metric"]: (row["verdict"], row["change"], row["raw_change"]) for row in json.loads(done.stdout)["rows"]}
    assert found["c1_p50_us"] == ("worse", pytest.approx(0.25), pytest.approx(0.5))
    assert found["per_s"][0] == "worse" and found["peak_mb"] == ("same", 0, 0)


def test_what_cannot_be_compared(tmp_path, old):
    broken = tmp_path / "broken.json"
    broken.write_text("[]")
    done = compare(old, broken)
    assert done.returncode == 2
    assert "broken.json: expected a result of bench/run" in done.stderr
    assert compare(old, result(tmp_path / "new.json", ratio=QUIET), "--metrics", "speed").returncode == 2
