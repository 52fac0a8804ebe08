"""What a case is: its contenders, its check, its load and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.datapath import checks
from bench.datapath.peers import PEERS, Bench, Running, Start
from bench.datapath.requests import FULL, Flavour
from bench.datapath.results import Metric


@dataclass(frozen=True, slots=True)
class Subject:
    """A contender that runs, in a round of a case.

    Attributes:
        running: the proxy.
        flavour: how requests look.
        bench: where.
        seconds: how long to measure.
    """

    running: Running
    flavour: Flavour
    bench: Bench
    seconds: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        return checks.headers_of(self.running, self.flavour)


Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement that all contenders take part in.

    Attributes:
        name: for `--cases`.
        title: one line.
        metrics: columns of its table.
        measure: gives the numbers of one round.
        check: raises WrongAnswer where the proxy does not do its work.
        flavour: how requests look.
        contenders: who takes part; None means every peer.
        without: peers that cannot take part, and why.
        fresh: whether the proxy is started anew for each round.
        warm: seconds of load before each measurement that are not counted.
        shared: whether the proxy may use the load's core too.
        often: how many times as many rounds as other cases: where small differences count.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Subject], Numbers]
    check: Callable[[Running, Flavour], None] = checks.check_small
    flavour: Flavour = FULL
    contenders: Mapping[str, Start] | None = None
    without: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    warm: float = 0.0
    shared: bool = False
    often: int = 1

    def starts(self, wanted: list[str]) -> Mapping[str, Start]:
        """Return who takes part; `wanted` names peers and holds only where all may."""
        if self.contenders is not None:
            return self.contenders
        return {name: PEERS[name] for name in wanted if name not in self.without}
