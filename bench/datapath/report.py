"""Tables, on the screen and in RESULTS.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.datapath.goals import Goal
from bench.datapath.results import CaseResult, Metric

_AGAINST = ("nginx", "chp", "--workers 1", "10 routes")
_DISTURBED = 0.05
_READING = """\
Written by `python -m bench.datapath --write-results` (`make bench`). The proxy has one core; the
load generator and the upstream (nginx with a 200-byte answer and a Jupyter server's headers, and a
server that swallows uploads and echoes WebSocket messages) share another. Each round measures
every peer once, in rotating order; the tables show medians and the least and the most, and a
ratio is the median of the rounds' ratios. Before each measurement the answers are checked, and
that nbgate refuses who has no session. `direct` is the upstream without any proxy: what the load
generator can see at most. `chp` is configurable-http-proxy, `httpd` Apache httpd with a GDBM
rewrite map, `aiohttp` a plain proxy of aiohttp's server and client. Only the value of the `Server`
header is not a Jupyter server's: nginx sends its own.

In the full cases, requests have ten browser headers and cookies, and go to a notebook's route:
nbgate looks the route up, checks the session, applies its header rules, counts, notes activity, and
has its limits and timeouts on. In the bare ones there is nothing but Host, on a plain route.
"""


def document(
    facts: Mapping[str, str],
    goals: Sequence[Goal],
    results: Mapping[str, CaseResult],
    configurations: Mapping[str, str],
) -> str:
    """Return RESULTS.md.

    Args:
        facts: of the machine and the run, by what they are called.
        goals: nbgate's.
        results: by case.
        configurations: by contender.
    """
    parts = ["# The data path against its peers", "", _READING, "## The machine and the run", ""]
    parts += [f"- {name}: {value}" for name, value in facts.items()]
    parts += ["", "## What nbgate must reach", "", goals_table(goals, results), "", "## Cases", ""]
    parts += [case_table(result) for result in results.values()]
    parts += ["## Configurations", ""]
    for name, text in configurations.items():
        parts += [f"### {name}", "", "```", text.rstrip(), "```", ""]
    return "\n".join(parts).rstrip() + "\n"


def case_table(result: CaseResult) -> str:
    """Return a case as a Markdown table: medians, the least and the most, ratios to peers."""
    head = ["peer"]
    for metric in result.metrics:
        head.append(metric.title)
        if metric.compared:
            head += [f"× {peer}" for peer in _AGAINST if peer in result.samples]
    rows = [_row(result, name) for name in result.samples]
    lines = [f"### {result.title}", ""]
    if rows:
        lines += [markdown(head, rows), ""]
    times = max((len(samples) for samples in result.samples.values()), default=0)
    remarks = [f"Measurements of each: {times}.", *result.remarks]
    if result.disturbed > _DISTURBED:
        remarks.append(f"Other programs used up to {result.disturbed:.0%} of a core meanwhile.")
    lines += [f"- {remark}" for remark in remarks]
    return "\n".join([*lines, ""])


def _row(result: CaseResult, contender: str) -> list[str]:
    cells = [contender]
    for metric in result.metrics:
        values = result.values(contender, metric.name)
        median = result.median(contender, metric.name)
        cells.append("–" if median is None else _measured(median, values, metric))
        if metric.compared:
            peers = [peer for peer in _AGAINST if peer in result.samples]
            cells += [_times(result.ratio(contender, metric.name, peer)) for peer in peers]
    return cells


def goals_table(goals: Sequence[Goal], results: Mapping[str, CaseResult]) -> str:
    """Return what nbgate must and wants to reach, and whether it does."""
    rows = []
    for goal in goals:
        value = goal.value(results)
        if value is None:
            verdicts = ["not measured", "", ""]
        else:
            verdicts = [f"{value:.2f}{goal.unit}", _met(goal.meets_must(value))]
            verdicts.append(_met(goal.meets_aim(value)))
        rows.append([goal.title, goal.must_text, goal.aim_text, *verdicts])
    return markdown(["measure", "must", "aim", "measured", "must met", "aim met"], rows)


def _met(met: bool | None) -> str:
    return "" if met is None else ("yes" if met else "**no**")


def _number(value: float, metric: Metric) -> str:
    return f"{value:,.{metric.digits}f}"


def _measured(median: float, values: Sequence[float], metric: Metric) -> str:
    text = _number(median, metric)
    if len(values) < 2:
        return text
    return f"{text} ({_number(min(values), metric)}–{_number(max(values), metric)})"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned for reading as text too."""
    # A rule needs a dash besides its colon.
    widths = [max(2, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * widths[0])] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
