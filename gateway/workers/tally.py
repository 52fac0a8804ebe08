"""What workers count, told as differences, and added up in control. Pure.

Requests that ended are told as how many more there were, so control's counters never go back, and
a worker that dies keeps its share. Gauges and activity are told as they are: what a worker had open
goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gateway.proxy.interface import Activity
from gateway.traffic import Traffic
from gateway.workers.frames import Message

_SCANNED_AT_ONCE = 1000

Shown = tuple[float, int, int]


def _nothing() -> Mapping[str, float]:
    return {}


class Reporter:
    """A worker's end: what changed since it was last told.

    Args:
        traffic: of this worker.
        activities: of this worker, by the keys of routes.
        counts: returns what else it has counted since its start.
    """

    def __init__(
        self,
        traffic: Traffic,
        activities: dict[str, Activity],
        counts: Callable[[], Mapping[str, float]] = _nothing,
    ) -> None:
        self._traffic = traffic
        self._activities = activities
        self._counts = counts
        self._told: dict[str, int] = {}
        self._counted: Mapping[str, float] = {}
        self._gauges = (0, 0)
        self._shown: dict[str, Shown] = {}

    def start_over(self) -> None:
        """Control knows nothing of this worker's gauges and activity any more."""
        self._gauges = (0, 0)
        self._shown.clear()

    def reports(self) -> Iterator[Message | None]:
        """Yield messages until all is told; None where there was nothing in a stretch of work."""
        yield self._of_traffic()
        yield self._of_counts()
        keys = list(self._activities)
        for start in range(0, len(keys), _SCANNED_AT_ONCE):
            yield self._of_activity(keys[start : start + _SCANNED_AT_ONCE])

    def report_of(self, keys: list[str]) -> Message | None:
        """Return what changed of these routes; None for nothing."""
        return self._of_activity([key for key in keys if key in self._activities])

    def _of_traffic(self) -> Message | None:
        traffic = self._traffic
        counts = traffic.outcomes
        more = {name: count - self._told.get(name, 0) for name, count in counts.items()}
        more = {name: count for name, count in more.items() if count}
        gauges = (traffic.in_flight, traffic.websockets)
        if not more and gauges == self._gauges:
            return None
        self._told, self._gauges = dict(counts), gauges
        return {"t": "traffic", "more": more, "in_flight": gauges[0], "websockets": gauges[1]}

    def _of_counts(self) -> Message | None:
        counts = self._counts()
        more = {name: count - self._counted.get(name, 0) for name, count in counts.items()}
        more = {name: count for name, count in more.items() if count}
        self._counted = counts
        return {"t": "counts", "more": more} if more else None

    def _of_activity(self, keys: list[str]) -> Message | None:
        changed: dict[str, Shown] = {}
        for key in keys:
            activity = self._activities.get(key)
            if activity is None:
                self._shown.pop(key, None)
                continue
            shown = (activity.last, activity.requests, activity.websockets)
            if shown != self._shown.get(key, (0.0, 0, 0)):
                self._shown[key] = changed[key] = shown
        return {"t": "activity", "of": changed} if changed else None


@dataclass(slots=True)
class _Share:
    activity: Activity
    requests: int = 0
    websockets: int = 0


class Contribution:
    """Control's end: what one worker adds to the sums.

    Args:
        total: of all workers.
        activity_of: a route's activity, by its key; None when there is none.
    """

    def __init__(self, total: Traffic, activity_of: Callable[[str], Activity | None]) -> None:
        self._total = total
        self._activity_of = activity_of
        self._in_flight = 0
        self._websockets = 0
        self._shares: dict[str, _Share] = {}

    def take_traffic(self, message: Message) -> None:
        """Add what a worker counted."""
        outcomes = self._total.outcomes
        for name, count in message["more"].items():
            outcomes[name] = outcomes.get(name, 0) + count
        self._set_gauges(message["in_flight"], message["websockets"])

    def take_activity(self, message: Message) -> None:
        """Add what a worker saw of routes."""
        for key, (last, requests, websockets) in message["of"].items():
            activity = self._activity_of(key)
            if activity is None:
                self._shares.pop(key, None)
                continue
            share = self._shares.get(key)
            if share is None or share.activity is not activity:
                share = self._shares[key] = _Share(activity)
            activity.last = max(activity.last, last)
            _set_share(share, requests, websockets)

    def withdraw(self) -> None:
        """The worker is gone: nothing of it is open any more."""
        self._set_gauges(0, 0)
        for share in self._shares.values():
            _set_share(share, 0, 0)
        self._shares.clear()

    def _set_gauges(self, in_flight: int, websockets: int) -> None:
        self._total.in_flight += in_flight - self._in_flight
        self._total.websockets += websockets - self._websockets
        self._in_flight, self._websockets = in_flight, websockets


def _set_share(share: _Share, requests: int, websockets: int) -> None:
    share.activity.requests += requests - share.requests
    share.activity.websockets += websockets - share.websockets
    share.requests, share.websockets = requests, websockets
