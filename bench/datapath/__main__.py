"""Measure the data path against its peers; see the package's docstring for what is where."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from bench.datapath.case import Case
from bench.datapath.cases import all_cases
from bench.datapath.checks import WrongAnswer
from bench.datapath.goals import all_goals
from bench.datapath.load import LoadFailed
from bench.datapath.machine import facts
from bench.datapath.peers import PEERS, Bench
from bench.datapath.processes import ProgramFailed, ProgramMissing
from bench.datapath.report import case_table, document, goals_table
from bench.datapath.results import CaseResult
from bench.datapath.runner import Runner
from bench.datapath.upstream import running_upstream

_RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"


def _arguments() -> argparse.Namespace:
    cases = [case.name for case in all_cases()]
    parser = argparse.ArgumentParser(prog="python -m bench.datapath", description=__doc__)
    parser.add_argument("--cases", help=f"comma-separated; default: all of {', '.join(cases)}")
    parser.add_argument("--peers", help=f"comma-separated; default: all of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument(
        "--cores", default="0,1", metavar="PROXY,LOAD", help="cores to pin to (default 0,1)"
    )
    parser.add_argument(
        "--write-results", action="store_true", help="write bench/RESULTS.md as well"
    )
    args = parser.parse_args()
    args.cases = _chosen(parser, args.cases, cases)
    args.peers = _chosen(parser, args.peers, list(PEERS))
    return args


def _chosen(parser: argparse.ArgumentParser, text: str | None, known: list[str]) -> list[str]:
    wanted = text.split(",") if text else known
    if unknown := set(wanted) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def run(
    args: argparse.Namespace, cases: Sequence[Case], configurations: dict[str, str]
) -> dict[str, CaseResult]:
    """Measure the cases; return the results by name, and fill in the configurations."""
    proxy_core, load_core = (int(core) for core in args.cores.split(","))
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory(prefix="nbgate-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_upstream(folder, load_core) as upstream:
            bench = Bench(folder, upstream, proxy_core, load_core)
            configurations["upstream"] = upstream.configuration
            runner = Runner(bench, args.rounds, args.seconds, args.peers, configurations)
            return {case.name: runner.run(case) for case in cases}


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Run the benchmark."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _end)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cases = [case for case in all_cases() if case.name in args.cases]
    configurations: dict[str, str] = {}
    try:
        results = run(args, cases, configurations)
    except (ProgramMissing, ProgramFailed, LoadFailed, WrongAnswer) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for result in results.values():
        print(case_table(result))
    goals = [goal for goal in all_goals() if goal.case in results]
    print(goals_table(goals, results))
    if args.write_results:
        told = facts(args.rounds, args.seconds, args.cores)
        _RESULTS.write_text(document(told, goals, results, configurations))
    return 1 if any(result.failed for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
