"""Takes turns: in each round every contender is checked and measured once, in rotating order."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import TypeVar

from bench.datapath.case import Case, Subject
from bench.datapath.checks import WrongAnswer
from bench.datapath.cores import Usage, usage
from bench.datapath.load import LoadFailed
from bench.datapath.peers import Bench, Running, Start
from bench.datapath.processes import ProgramFailed
from bench.datapath.results import CaseResult

T = TypeVar("T")

# One peer that fails in one case does not spoil what the others show.
_FAILURES = (LoadFailed, WrongAnswer, ProgramFailed, OSError, HTTPException)
_DISTURBED = 0.05


@dataclass(slots=True)
class Runner:
    """Runs cases.

    Attributes:
        bench: where.
        rounds: how often each contender is measured; some cases more often, see Case.
        seconds: how long each time.
        peers: who takes part.
        configurations: what the contenders were configured with, as they are met.
    """

    bench: Bench
    rounds: int
    seconds: float
    peers: list[str]
    configurations: dict[str, str]

    def run(self, case: Case) -> CaseResult:
        """Measure one case."""
        result = CaseResult(case.name, case.title, case.metrics)
        result.remarks += [
            f"{name} takes no part: {why}"
            for name, why in case.without.items()
            if name in self.peers
        ]
        starts = case.starts(self.peers)
        with contextlib.ExitStack() as stack:
            kept = {} if case.fresh else self._all_started(case, starts, result, stack)
            for number in range(self.rounds * case.often):
                for name in rotated(list(starts), number):
                    if case.fresh or name in kept:
                        self._try(case, name, starts[name], kept.get(name), result, number)
        return result

    def _all_started(
        self,
        case: Case,
        starts: Mapping[str, Start],
        result: CaseResult,
        stack: contextlib.ExitStack,
    ) -> dict[str, Running]:
        kept = {}
        for name, start in starts.items():
            try:
                kept[name] = stack.enter_context(self._started(case, name, start))
            except _FAILURES as error:
                result.fail(name, 0, str(error))
        return kept

    def _try(
        self,
        case: Case,
        name: str,
        start: Start,
        running: Running | None,
        result: CaseResult,
        number: int,
    ) -> None:
        try:
            self._measure(case, name, start, running, result)
        except _FAILURES as error:
            result.fail(name, number + 1, str(error))
            print(result.remarks[-1], file=sys.stderr, flush=True)

    def _measure(
        self, case: Case, name: str, start: Start, running: Running | None, result: CaseResult
    ) -> None:
        with contextlib.ExitStack() as stack:
            if running is None:
                running = stack.enter_context(self._started(case, name, start))
            subject = Subject(running, case.flavour, self.bench, self.seconds)
            case.check(running, case.flavour)
            if case.warm:
                case.measure(replace(subject, seconds=case.warm))
            before = self._usage(running)
            numbers = case.measure(subject)
            disturbed = self._usage(running).disturbance(before)
            result.disturbed = max(result.disturbed, disturbed)
            result.add(name, numbers)
            said = "  ".join(f"{key}={value:,.4g}" for key, value in numbers.items())
            others = f"  (others: {disturbed:.0%} of a core)" if disturbed > _DISTURBED else ""
            print(f"{case.name:18} {name:12} {said}{others}", file=sys.stderr, flush=True)

    def _usage(self, running: Running) -> Usage:
        bench = self.bench
        cores = {bench.proxy_core, bench.load_core}
        return usage(cores, (*running.pids, *bench.upstream.pids))

    @contextlib.contextmanager
    def _started(self, case: Case, name: str, start: Start) -> Iterator[Running]:
        cores = {self.bench.proxy_core}
        if case.shared:
            cores.add(self.bench.load_core)
        with start(self.bench, cores) as running:
            self.configurations.setdefault(name, running.configuration)
            yield running


def rotated(names: Sequence[T], number: int) -> list[T]:
    """Return the names, begun `number` places later, so that nobody is always first."""
    begin = number % len(names) if names else 0
    return [*names[begin:], *names[:begin]]
