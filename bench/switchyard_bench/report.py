"""A result as a table: text for a terminal, Markdown for docs/performance.md."""

import pathlib
import statistics

BEGIN, END = "<!-- bench/report: begin -->", "<!-- bench/report: end -->"
FAULT = "not measured: "


def number(value, digits=None):
    if value is None:
        return "–"
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    return f"{value:,.{digits}f}"


def size(count):
    if count is None:
        return "–"
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB" if count >= 1e3 else f"{count} B"


def middle(row, name):
    values = row["samples"].get(name)
    return statistics.median(values) if values else None


def spread(row, name="cpu_us"):
    values = row["samples"].get(name)
    return f"{number(min(values))} .. {number(max(values))}" if values else "–"


def title(row):
    many = row["protocol"] and row["server"] != "bare gRPC"
    return f"{row['server']}, {row['protocol']}" if many else row["server"]


def milliseconds(microseconds):
    return number(microseconds / 1000, 3 if microseconds < 100 else 2 if microseconds < 1e5 else 0)


def times(values):
    """p50 / p90 / p99 / p99.9 in ms."""
    if not values:
        return "–"
    return " / ".join(milliseconds(values[name]) if name in values else "–" for name in ("p50", "p90", "p99", "p99.9"))


HEADS = ("server", "CPU µs each", "(least .. most)", "ratio", "per s", "one call at a time, ms: p50 / p90 / p99 / p99.9",
         "open loop at 70 %, ms: p50 / p90 / p99 / p99.9", "bytes in", "out", "peak MB", "ready s")


def cells(row):
    if row["error"]:
        return [title(row), FAULT + row["error"], *[""] * (len(HEADS) - 2)]
    ratio = middle(row, "ratio")
    if row["server"] == "in process":
        ratio = 1.0
    return [title(row), number(middle(row, "cpu_us")), spread(row), number(ratio, 3), number(middle(row, "per_s")),
            times(row["c1_us"]), times(row["open_us"]), size(row.get("bytes_in")), size(row.get("bytes_out")),
            number(middle(row, "peak_mb"), 0), number(middle(row, "ready_s"), 2)]


def derived_lines(rows):
    for row in rows:
        if "derived" in row:
            d = row["derived"]
            larger = "larger" if d["spread_us"] > abs(d["measured_above_us"]) else "smaller"
            yield (f"{title(row)}: derived from the sink {number(d['above_us'])} µs above in process, ratio "
                   f"{number(d['ratio'], 4)}; measured {number(d['measured_above_us'])} µs, ratio "
                   f"{number(middle(row, 'ratio'), 4)}, with a spread of {number(d['spread_us'])} µs, which is {larger} than "
                   "that difference")


def idle_lines(rows):
    """What the client could not saturate: there "per s" is no limit of the server's."""
    idle = [f"{title(row)} ({middle(row, 'busy'):.0%})" for row in rows if (middle(row, "busy") or 1) < 0.9]
    if idle:
        yield "Not saturated, by the share of its core that it used: " + "; ".join(idle)


def notes(rows):
    seen = {}
    for row in rows:
        if row["note"]:
            seen[row["server"]] = row["note"]
    return [f"{server}: {note}." for server, note in seen.items()]


def machine_lines(result):
    m, o = result["machine"], result["options"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items() if version)
    yield f"{m['cpu']} ({', '.join(m['flags'])}), {m['cores']} cores, {m['memory_gib']} GiB; {m['system']}."
    yield (f"Servers on core {m['server_cores']}, clients on core {m['client_cores']}. Load before it began: "
           f"{m['load_before']:.2f}; time that the hypervisor gave to others: {100 * m['stolen_share']:.1f} %.")
    yield f"{versions}."
    yield (f"{result['date']}: {o['repeats']} repeats of {o['seconds']} s ({o['peer_repeats']} for peers), medians; it took "
           f"{result['took_s'] / 60:.0f} min.")


CHECK_TITLE = "Switchyard under perf_analyzer with 4 calls at once, and under our client at the rate that came of it"
CHECK_HEADS = ("protocol", "client", "CPU µs each", "per s", "p50 ms", "p90 ms", "p99 ms")


def check_cells(check):
    for row in check["rows"]:
        name = f"{row['workload']}, {row['protocol']}"
        for client, key in (("perf_analyzer", "perf_analyzer"), ("bench_load", "own")):
            if key in row:
                f = row[key]
                latencies = [milliseconds(f[f"p{p}_us"]) for p in (50, 90, 99)]
                yield [name, client, number(f["cpu_us"]), number(f["per_s"]), *latencies]
        if row["error"]:
            yield [name, FAULT + row["error"], *[""] * 5]


def sections(result):
    for workload in result["workloads"]:
        yield workload, [row for row in result["rows"] if row["workload"] == workload["name"]]


def _text_table(heads, lines):
    widths = [max([len(heads[i])] + [len(line[i]) for line in lines if not any(c.startswith(FAULT) for c in line)])
              for i in range(len(heads))]
    for line in (list(heads), *lines):
        fault = next((c for c in line if c.startswith(FAULT)), None)
        if fault:
            yield f"  {line[0]:<{widths[0]}}  {fault}"
        else:
            yield "  " + f"{line[0]:<{widths[0]}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(line[1:], widths[1:]))


def text(result):
    heads = [h.replace("one call at a time, ms: p50 / p90 / p99 / p99.9", "alone, ms: p50/p90/p99/p99.9")
             .replace("open loop at 70 %, ms: p50 / p90 / p99 / p99.9", "at 70 %, ms: p50/p90/p99/p99.9") for h in HEADS]
    lines = list(machine_lines(result))
    for workload, rows in sections(result):
        lines += ["", workload["title"], *_text_table(heads, [cells(row) for row in rows])]
        lines += [f"  {line}" for line in (*derived_lines(rows), *idle_lines(rows))]
    check = result.get("perf_analyzer")
    if check:
        lines += ["", CHECK_TITLE]
        lines += [FAULT + check["error"]] if check["error"] else _text_table(CHECK_HEADS, list(check_cells(check)))
    return "\n".join([*lines, "", *notes(result["rows"])]) + "\n"


def _markdown_table(heads, lines):
    yield "| " + " | ".join(heads) + " |"
    yield "|---" + "|--:" * (len(heads) - 1) + "|"
    for line in lines:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"


def markdown(result, plots=()):
    lines = [*machine_lines(result), ""]
    lines += [f"![{title}]({name})" for title, name in plots]
    for workload, rows in sections(result):
        lines += ["", f"### {workload['title']}", "", *_markdown_table(HEADS, [cells(row) for row in rows]), ""]
        lines += [f"- {line}" for line in (*derived_lines(rows), *idle_lines(rows))]
    check = result.get("perf_analyzer")
    if check:
        lines += ["", "### The same by perf_analyzer", "", CHECK_TITLE + ".", ""]
        lines += [FAULT + check["error"]] if check["error"] else _markdown_table(CHECK_HEADS, list(check_cells(check)))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(result["rows"]))]) + "\n"


def replace_section(page, body):
    """Puts `body` between the marks of that page."""
    page = pathlib.Path(page)
    before = page.read_text(encoding="utf-8")
    if before.count(BEGIN) != 1 or before.count(END) != 1 or before.index(BEGIN) > before.index(END):
        raise SystemExit(f"{page}: expected one line {BEGIN} and one line {END} behind it")
    head, rest = before.split(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{body.strip()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
