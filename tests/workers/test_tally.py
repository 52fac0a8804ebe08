"""What workers count is added up; what died is counted no more, but stays counted."""

from __future__ import annotations

from gateway.proxy.interface import Activity
from gateway.traffic import Traffic
from gateway.workers.tally import Contribution, Reporter


class Worker:
    """A worker's counts, and its share in control."""

    def __init__(self, total: Traffic, activities: dict[str, Activity]) -> None:
        self.traffic, self.activities = Traffic(), {"x": Activity()}
        self.reporter = Reporter(self.traffic, self.activities)
        self.contribution = Contribution(total, activities.get)

    def tell(self) -> int:
        told = [message for message in self.reporter.reports() if message is not None]
        for message in told:
            if message["t"] == "traffic":
                self.contribution.take_traffic(message)
            else:
                self.contribution.take_activity(message)
        return len(told)


def test_sums_follow_and_a_dead_worker_takes_only_what_was_open() -> None:
    total, activities = Traffic(), {"x": Activity()}
    first, second = Worker(total, activities), Worker(total, activities)
    for worker, last in ((first, 5.0), (second, 3.0)):
        worker.traffic.request_started()
        worker.traffic.request_finished("2xx")
        worker.traffic.request_started()
        worker.traffic.websocket_opened()
        worker.activities["x"].last = last
        worker.activities["x"].requests = 1
        worker.activities["x"].websockets = 2
        assert worker.tell() == 2
        assert worker.tell() == 0, "nothing changed"
    assert (total.outcomes, total.in_flight, total.websockets) == ({"2xx": 2}, 2, 2)
    assert activities["x"] == Activity(5.0, 2, 4)
    first.contribution.withdraw()
    assert (total.outcomes, total.in_flight, total.websockets) == ({"2xx": 2}, 1, 1)
    assert activities["x"] == Activity(5.0, 1, 2)
    second.activities["x"].requests = 0
    second.tell()
    assert activities["x"] == Activity(5.0, 0, 2)


def test_new_control_is_told_what_is_open_but_not_what_was_counted_before() -> None:
    worker = Worker(Traffic(), {"x": Activity()})
    worker.traffic.request_started()
    worker.traffic.request_finished("5xx")
    worker.traffic.websocket_opened()
    worker.activities["x"].last = 9.0
    worker.tell()
    total, activities = Traffic(), {"x": Activity()}
    worker.contribution = Contribution(total, activities.get)
    worker.reporter.start_over()
    worker.traffic.request_started()
    worker.traffic.request_finished("2xx")
    worker.tell()
    assert (total.outcomes, total.websockets) == ({"2xx": 1}, 1)
    assert activities["x"].last == 9.0


def test_notebook_that_was_made_again_begins_at_nothing() -> None:
    total, activities = Traffic(), {"x": Activity()}
    worker = Worker(total, activities)
    worker.activities["x"].websockets = 3
    worker.tell()
    del activities["x"]
    worker.activities["x"].websockets = 2
    worker.tell()
    activities["x"] = Activity()
    worker.activities["x"].websockets = 1
    worker.tell()
    assert activities["x"].websockets == 1
    worker.contribution.withdraw()
    assert activities["x"].websockets == 0


def test_what_was_seen_of_a_route_is_told_at_once_when_it_changes() -> None:
    total, activities = Traffic(), {"x": Activity()}
    worker = Worker(total, activities)
    worker.activities["x"].requests = 1
    told = worker.reporter.report_of(["x", "unknown"])
    assert told is not None
    worker.contribution.take_activity(told)
    assert activities["x"] == Activity(0.0, 1, 0)
    assert worker.reporter.report_of(["x"]) is None, "nothing changed"
    assert worker.tell() == 0
