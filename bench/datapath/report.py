"""Tables, on the screen and in RESULTS.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.datapath.goals import Goal
from bench.datapath.results import CaseResult, Metric

_AGAINST = ("nginx", "chp")


def case_table(result: CaseResult) -> str:
    """Return a case as a Markdown table: medians, the least and the most, ratios to peers."""
    head = ["peer"]
    for metric in result.metrics:
        head += [metric.title, "min–max"]
        if metric.compared:
            head += [f"× {peer}" for peer in _AGAINST if peer in result.samples]
    rows = [_row(result, name) for name in result.samples]
    lines = [f"### {result.title}", ""]
    if rows:
        lines += [_markdown(head, rows), ""]
    lines += [f"*{remark}*\n" for remark in result.remarks]
    return "\n".join(lines)


def _row(result: CaseResult, contender: str) -> list[str]:
    cells = [contender]
    for metric in result.metrics:
        values = result.values(contender, metric.name)
        median = result.median(contender, metric.name)
        if median is None:
            cells += ["–", "–"]
        else:
            cells += [_number(median, metric), _span(values, metric)]
        if metric.compared:
            for peer in _AGAINST:
                if peer in result.samples:
                    cells.append(_times(result.ratio(contender, metric.name, peer)))
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
    return _markdown(["measure", "must", "aim", "measured", "must met", "aim met"], rows)


def _met(met: bool | None) -> str:
    return "" if met is None else ("yes" if met else "**no**")


def _number(value: float, metric: Metric) -> str:
    return f"{value:,.{metric.digits}f}"


def _span(values: Sequence[float], metric: Metric) -> str:
    return f"{_number(min(values), metric)}–{_number(max(values), metric)}"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned for reading as text too."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * widths[0])] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
