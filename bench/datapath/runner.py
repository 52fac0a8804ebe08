"""Takes turns: in each round every contender is checked and measured once, in rotating order."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.datapath.cases import Case, Subject
from bench.datapath.peers import Bench, Running, Start
from bench.datapath.results import CaseResult


@dataclass(slots=True)
class Runner:
    """Runs cases.

    Attributes:
        bench: where.
        rounds: how often each contender is measured.
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
        if case.skip:
            result.remarks.append(f"skipped: {case.skip}")
            return result
        result.remarks += [
            f"{name} takes no part: {why}"
            for name, why in case.without.items()
            if name in self.peers
        ]
        starts = case.starts(self.peers)
        with contextlib.ExitStack() as stack:
            kept: dict[str, Running] = {}
            if not case.fresh:
                kept = {
                    name: stack.enter_context(self._started(case, name, start))
                    for name, start in starts.items()
                }
            for number in range(self.rounds):
                for name in rotated(list(starts), number):
                    self._measure(case, name, starts[name], kept.get(name), result)
        return result

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
            numbers = case.measure(subject)
            result.add(name, numbers)
            said = "  ".join(f"{key}={value:,.4g}" for key, value in numbers.items())
            print(f"{case.name:18} {name:12} {said}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _started(self, case: Case, name: str, start: Start) -> Iterator[Running]:
        cores = {self.bench.proxy_core}
        if case.shared:
            cores.add(self.bench.load_core)
        with start(self.bench, cores) as running:
            self.configurations.setdefault(name, running.configuration)
            yield running


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Return the names, begun `number` places later, so that nobody is always first."""
    begin = number % len(names) if names else 0
    return [*names[begin:], *names[:begin]]
