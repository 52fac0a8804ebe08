"""Tables, on the screen and in ROUTES.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.datapath.goals import Goal
from bench.datapath.report import case_table, goals_table, markdown
from bench.datapath.results import CaseResult
from bench.routes.following import FOLLOWING
from bench.routes.leaks import LEAKS
from bench.routes.operations import FILLING, OPERATIONS, case
from bench.routes.proxies import CHP
from bench.routes.starting import STARTING

_READING = """\
Written by `python -m bench.routes --write-results` (`make bench`); `chp` is
configurable-http-proxy. The proxy has one core, the client another. In each round every contender
is measured once, in rotating order; the tables show medians of the rounds, and the least and the
most.
"""
_STARTING = """\
Children are counted: with --persist-routes the builder of the files. PSS shares out the pages that
processes have in common, with others of the same program on the machine too; RSS counts them for
each.
"""
_OPERATIONS = """\
Through the REST API, one call at a time over a kept connection: milliseconds from sending a request
to the last byte of its answer, each of which is checked. The routes are like a JupyterHub's, one
for each user. A round has 500 calls of each kind, and of the listings 5 to 50, so that the p99 of
these is the slowest one. × is the ratio to `chp`.
"""
_FOLLOWING = """\
Routes are added one after another, each when the one before is in the route file and its companion,
so that the pause after a writing counts too, which is as long as that took. A figure, and no goal.
"""
_LEAKS = """\
Connections come and go, a hundred at once: most carry ten requests, one of them with a body; some
one request to a target that is down, to no route, or of a client that leaves before it is answered;
each second WebSocket ends without a word. For `chp` the column of tasks has what keeps its event
loop busy.
"""


def operations_table(counts: Sequence[int], results: Mapping[str, CaseResult]) -> str:
    """Return all operations, one contender beside the other."""
    names = list(results[case("add", counts[0])].samples)
    head = ["operation", "routes"]
    for name in names:
        others = [] if name == CHP else ["×"]
        head += [f"{name}: p50", *others, "p99", *others]
    rows = [
        [title, f"{count:,}", *_cells(results[case(operation, count)], names)]
        for operation, title in OPERATIONS.items()
        for count in counts
    ]
    return markdown(head, rows)


def _cells(result: CaseResult, names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        for metric in ("p50", "p99"):
            median, ratio = result.median(name, metric), result.ratio(name, metric, CHP)
            cells.append("–" if median is None else f"{median:.3f}")
            if name != CHP:
                cells.append("–" if ratio is None else f"{ratio:.2f}")
    return cells


def parts(counts: Sequence[int], results: Mapping[str, CaseResult]) -> list[str]:
    """Return the tables of what was measured, each under its heading."""
    made = []
    if STARTING in results:
        made += [case_table(results[STARTING]), _STARTING]
    if FILLING in results:
        made += ["### Operations", "", _OPERATIONS, operations_table(counts, results), ""]
        made.append(case_table(results[FILLING]))
    if FOLLOWING in results:
        made += [case_table(results[FOLLOWING]), _FOLLOWING]
    if LEAKS in results:
        made += [case_table(results[LEAKS]), _LEAKS]
    return made


def document(
    facts: Mapping[str, str],
    goals: Sequence[Goal],
    counts: Sequence[int],
    results: Mapping[str, CaseResult],
    remarks: Sequence[str],
) -> str:
    """Return ROUTES.md.

    Args:
        facts: of the machine and the run, by what they are called.
        goals: nbgate-proxy's.
        counts: of routes.
        results: by case.
        remarks: lines for people.
    """
    lines = ["# nbgate-proxy beside configurable-http-proxy", "", _READING]
    lines += ["## The machine and the run", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [f"- {remark}" for remark in remarks]
    lines += ["", "## What nbgate-proxy must reach", "", goals_table(goals, results), ""]
    lines += ["## Results", "", *parts(counts, results)]
    return "\n".join(lines).rstrip() + "\n"
