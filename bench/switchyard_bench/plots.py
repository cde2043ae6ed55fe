"""A result as pictures: small SVGs whose bytes depend on the result alone."""

import pathlib

import matplotlib
from matplotlib import figure

from . import report

matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "switchyard", "font.size": 9, "font.family": "sans-serif"})
OURS, OTHERS, LIMIT, FLOOR = "steelblue", "silver", "dimgray", "darkseagreen"


def colour(row):
    return {"Switchyard": OURS, "in process": LIMIT, "bare gRPC": FLOOR,
            "in process, fed by a socket": FLOOR}.get(row["server"], OTHERS)


def _save(chart, path):
    chart.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib ends lines with spaces.
    path.write_text("\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()) + "\n", encoding="utf-8")


def bars(axes, rows, name, heading):
    rows = [row for row in rows if not row["error"] and report.middle(row, name) is not None]
    values = [report.middle(row, name) for row in rows]
    wide = max(values) > 50 * min(values)
    axes.barh(range(len(rows)), values, color=[colour(row) for row in rows], log=wide)
    axes.set_yticks(range(len(rows)), [report.title(row) for row in rows])
    axes.invert_yaxis()
    axes.set_title(heading, loc="left", fontsize=9)
    if wide:
        axes.set_xlabel("logarithmic", fontsize=8)
    for place, value in enumerate(values):
        axes.annotate(report.number(value), (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def cpu_each(result, path, names=None):
    """CPU per request of every server, a panel for each workload."""
    chosen = [(w, rows) for w, rows in report.sections(result) if names is None or w["name"] in names]
    counts = [max(1, sum(not row["error"] for row in rows)) for _, rows in chosen]
    chart = figure.Figure(figsize=(8, 0.55 * len(chosen) + 0.21 * sum(counts)), layout="constrained")
    panels = chart.subplots(len(chosen), 1, squeeze=False, gridspec_kw={"height_ratios": counts})
    for (workload, rows), axes in zip(chosen, panels[:, 0]):
        bars(axes, rows, "cpu_us", f"{workload['title']}: CPU µs per request")
    _save(chart, path)


def latency(result, path):
    """Percentiles of the open loop of Switchyard's rows, a line each."""
    chart = figure.Figure(figsize=(8, 3.2), layout="constrained")
    axes = chart.subplots()
    names = ("p50", "p90", "p99", "p99.9")
    for row in result["rows"]:
        if row["server"] == "Switchyard" and row["protocol"] == "KServe gRPC" and row["open_us"]:
            known = [(i, row["open_us"][n] / 1000) for i, n in enumerate(names) if n in row["open_us"]]
            axes.plot(*zip(*known), marker="o", markersize=3, label=row["workload"])
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names)
    axes.set_title("Switchyard, KServe gRPC, open loop at 70 % of saturation: latency, ms", loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(chart, path)


def write(result, folder, stem):
    """All of them; returns (title, file) of each."""
    folder = pathlib.Path(folder)
    made = [("CPU time per request", folder / f"{stem}.cpu.svg"), ("Latency in an open loop", folder / f"{stem}.latency.svg")]
    cpu_each(result, made[0][1])
    latency(result, made[1][1])
    return made
