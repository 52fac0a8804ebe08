"""Measure nbgate-proxy beside configurable-http-proxy; see the package's docstring."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from bench.datapath.cores import usage
from bench.datapath.machine import facts
from bench.datapath.processes import ProgramFailed, ProgramMissing
from bench.datapath.report import goals_table
from bench.datapath.results import CaseResult
from bench.routes import report
from bench.routes.api import Unexpected
from bench.routes.churn import Mixture, WrongAnswer
from bench.routes.following import FOLLOWING, measure_following
from bench.routes.goals import all_goals
from bench.routes.leaks import LEAKS, measure_leaks
from bench.routes.operations import measure_operations
from bench.routes.proxies import KEEPING, Contender, contenders
from bench.routes.starting import STARTING, measure_starting

_RESULTS = Path(__file__).resolve().parents[1] / "ROUTES.md"
_PARTS = (STARTING, "operations", FOLLOWING, LEAKS)
_DISTURBED = 0.05
_TOLD = ("date", "processor", "memory", "system", "Python", "nbgate", "chp")
_FAILURES = (ProgramMissing, ProgramFailed, Unexpected, WrongAnswer, OSError, EOFError)

Results = dict[str, CaseResult]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.routes", description=__doc__)
    parser.add_argument("--parts", help=f"comma-separated; default: {','.join(_PARTS)}")
    parser.add_argument("--counts", default="10,10000,100000", help="numbers of routes, growing")
    parser.add_argument("--start-routes", type=int, default=10_000, help="added after a start")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100_000, help="that come and go")
    parser.add_argument("--sockets", type=int, default=10_000, help="WebSockets that do")
    parser.add_argument(
        "--cores", default="0,1", metavar="PROXY,LOAD", help="cores to pin to (default 0,1)"
    )
    parser.add_argument("--write-results", action="store_true", help="write bench/ROUTES.md")
    args = parser.parse_args()
    args.parts = args.parts.split(",") if args.parts else list(_PARTS)
    if unknown := set(args.parts) - set(_PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    args.counts = [int(count) for count in args.counts.split(",")]
    if args.counts != sorted(set(args.counts)):
        parser.error("--counts must grow")
    args.cores = [int(core) for core in args.cores.split(",")]
    return args


def run(args: argparse.Namespace, who: Sequence[Contender], remarks: list[str]) -> Results:
    """Measure the parts that were asked for."""
    proxy_core, load_core = args.cores
    os.sched_setaffinity(0, {load_core})
    results: Results = {}
    keeping = [one for one in who if one.keeps]
    with tempfile.TemporaryDirectory(prefix="nbgate-bench-") as name:
        folder = Path(name)

        def starting() -> Results:
            rounds, routes = args.rounds, args.start_routes
            return {STARTING: measure_starting(who, routes, rounds, folder, proxy_core)}

        def operations() -> Results:
            return measure_operations(who, args.counts, args.rounds, folder, proxy_core)

        def following() -> Results:
            if not keeping:
                return {}
            return {FOLLOWING: measure_following(keeping[0], args.counts, folder, proxy_core)}

        def leaks() -> Results:
            mixture = Mixture(args.requests, args.sockets)
            both = [one for one in who if not one.keeps]  # what is kept plays no part there
            return {LEAKS: measure_leaks(both, mixture, folder, proxy_core, load_core)}

        for part, measure in zip(_PARTS, (starting, operations, following, leaks), strict=True):
            if part in args.parts:
                results |= _watched(part, measure, args.cores, remarks)
    return results


def _watched(
    part: str, measure: Callable[[], Results], cores: Sequence[int], remarks: list[str]
) -> Results:
    """Measure a part; whatever it starts has ended then, so others' use of the cores shows."""
    before = usage(cores, ())
    results = measure()
    others = usage(cores, ()).disturbance(before)
    if others > _DISTURBED:
        remarks.append(f"{part}: other programs used {others:.0%} of a core meanwhile")
        print(remarks[-1], file=sys.stderr, flush=True)
    return results


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Run the benchmark."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _end)
    remarks: list[str] = []
    try:
        who = contenders()
        results = run(args, who, remarks)
    except _FAILURES as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if KEEPING not in [one.name for one in who]:
        remarks.append("this nbgate-proxy has no --persist-routes")
    goals = [goal for goal in all_goals() if goal.case in results]
    print("\n".join(report.parts(args.counts, results)))
    print(goals_table(goals, results))
    if args.write_results:
        told = facts(args.rounds, 0, ",".join(map(str, args.cores)))
        kept = {name: told[name] for name in _TOLD}
        kept["run"] = (
            f"{args.rounds} rounds; cores (proxy, client): {told['run'].rpartition(' ')[2]}"
        )
        _RESULTS.write_text(report.document(kept, goals, args.counts, results, remarks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
