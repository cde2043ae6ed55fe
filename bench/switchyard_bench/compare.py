"""Tells a change between two results from noise. Needs nothing but Python, so that it works where nothing else is set up."""

import itertools
import json
import math
import random
import statistics

# By name: is more of it better?
HIGHER_IS_BETTER = {"ratio": False, "above_us": False, "cpu_us": False, "per_s": True, "c1_p50_us": False, "c1_p90_us": False,
                    "c1_p99_us": False, "open_p50_us": False, "open_p90_us": False, "open_p99_us": False, "peak_mb": False,
                    "ready_s": False}
DEFAULT_METRICS = ("ratio", "per_s", "c1_p50_us", "open_p99_us", "peak_mb", "ready_s")
MOST_SPLITS = 20000


class CannotCompare(Exception):
    pass


def read(path):
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] != 1:
            raise CannotCompare(f"{path}: expected format 1, got {result['format']}; run bench/run again")
        return {(r["workload"], r["server"], r["protocol"]): r for r in result["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotCompare(f"{path}: expected a result of bench/run: {error!r}") from None


def ranks(values):
    """From 1; equal values share the mean of theirs."""
    order = sorted(values)
    first, last = {}, {}
    for place, value in enumerate(order, 1):
        first.setdefault(value, place)
        last[value] = place
    return [(first[value] + last[value]) / 2 for value in values]


def chance_of_larger(old, new):
    """One-sided: how often a random split of all samples has ranks of "new" at least as high as they are.

    All splits where there are few enough, else a sample of them that is the same every time.
    """
    ranked = ranks([*old, *new])
    size, wanted = len(new), sum(ranked[len(old):]) - 1e-9
    if math.comb(len(ranked), size) <= MOST_SPLITS:
        sums = [sum(part) for part in itertools.combinations(ranked, size)]
    else:
        draw = random.Random(1)
        sums = [math.inf, *(sum(draw.sample(ranked, size)) for _ in range(MOST_SPLITS))]
    return sum(value >= wanted for value in sums) / len(sums)


def judge(old, new, higher_is_better, threshold, alpha):
    """"worse", "better" or "same", the change of the medians, and how likely chance makes one like it."""
    before, after = statistics.median(old), statistics.median(new)
    change = (after - before) / abs(before) if before else 0.0
    grew = chance_of_larger(old, new)
    fell = chance_of_larger(new, old)
    p = min(grew, fell)
    verdict = "same"
    if abs(change) > threshold:
        larger = after > before
        low, high = (old, new) if larger else (new, old)
        if 1 / math.comb(len(old) + len(new), len(new)) > alpha:
            told = min(high) - max(low) > threshold * abs(before)
        else:
            told = (grew if larger else fell) <= alpha
        if told:
            verdict = "better" if larger == higher_is_better else "worse"
    return {"verdict": verdict, "old": before, "new": after, "change": change, "p": p}


def drift(old, new):
    """By workload: how much longer the machine itself took the second time, by what the loop in process took.

    Times are divided by it and rates multiplied before they are judged; a ratio has it out already, memory does not follow it.
    """
    found = {}
    for (workload, server, protocol), row in old.items():
        other = new.get((workload, server, protocol))
        if server != "in process" or other is None:
            continue
        before, after = (side["samples"].get("cpu_us") for side in (row, other))
        if before and after and statistics.median(before) > 0:
            found[workload] = statistics.median(after) / statistics.median(before)
    return found


def without_drift(values, metric, factor):
    if metric in ("ratio", "peak_mb"):
        return values
    return [value * factor if HIGHER_IS_BETTER[metric] else value / factor for value in values]


def compare(old, new, metrics, threshold, alpha):
    both = [key for key in old if key in new]
    if not both:
        raise CannotCompare("the two have no row in common")
    rows, broken = [], []
    slower = drift(old, new)
    for key in both:
        if new[key]["error"] and not old[key]["error"]:
            broken.append({**_named(key), "error": new[key]["error"]})
            continue
        for metric in metrics:
            # In process there is no ratio: what moves there is the machine.
            one, other = (side[key]["samples"].get(metric) for side in (old, new))
            if one and other:
                factor = 1 if key[1].startswith("in process") else slower.get(key[0], 1)
                judged = without_drift(other, metric, factor)
                found = judge(one, judged, HIGHER_IS_BETTER[metric], threshold, alpha)
                raw = (statistics.median(other) - found["old"]) / abs(found["old"]) if found["old"] else 0.0
                rows.append({**_named(key), "metric": metric, "repeats": [len(one), len(other)], **found, "raw_change": raw})
    machine = [r for r in rows if r["server"].startswith("in process")]
    rows = [r for r in rows if not r["server"].startswith("in process")]
    return {
        "worse": sum(r["verdict"] == "worse" for r in rows) + len(broken),
        "better": sum(r["verdict"] == "better" for r in rows),
        "same": sum(r["verdict"] == "same" for r in rows),
        "rows": rows,
        "broken": broken,
        "machine": machine,
        "drift": slower,
        "only_old": [_named(key) for key in old if key not in new],
        "only_new": [_named(key) for key in new if key not in old],
    }


def _named(key):
    return dict(zip(("workload", "server", "protocol"), key))


def _title(row):
    return ", ".join(part for part in (row["workload"], row["server"], row["protocol"]) if part)


def table(found):
    """What changed first, then what did not, and what moved in process."""
    rank = {"worse": 0, "better": 1, "same": 2}
    rows = sorted(found["rows"], key=lambda r: (rank[r["verdict"]], -abs(r["change"])))
    width = max((len(_title(r)) for r in rows), default=10)
    lines = [f"{'':6} {'row':<{width}} {'figure':<12} {'old':>12} {'new':>12} {'change':>8} {'p':>7}"]
    for r in rows:
        verdict = r["verdict"] if r["verdict"] != "same" else ""
        figures = f"{r['old']:12.4g} {r['new']:12.4g} {r['change']:+8.1%} {r['p']:7.3f}"
        lines.append(f"{verdict:6} {_title(r):<{width}} {r['metric']:<12} {figures}")
    lines += [f"worse  {_title(r)}: it was measured before, and now: {r['error']}" for r in found["broken"]]
    lines += [f"only in the old one: {_title(r)}" for r in found["only_old"]]
    lines += [f"only in the new one: {_title(r)}" for r in found["only_new"]]
    if found["drift"]:
        moved = ", ".join(f"{workload} {factor - 1:+.1%}" for workload, factor in found["drift"].items())
        lines.append(f"The machine: CPU time of the loop in process {moved}; it is taken out of times and rates above.")
    if any(min(r["repeats"]) < 5 for r in rows):
        lines.append("Some rows have fewer than 5 repeats: small changes cannot be told from noise there.")
    lines.append(f"{found['worse']} worse, {found['better']} better, {found['same']} within noise")
    return "\n".join(lines)
