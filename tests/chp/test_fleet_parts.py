"""The parts of `nbgate-proxy --workers` by themselves: what is passed on, the journal, the gate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from gateway.chp.book import RouteBook
from gateway.chp.gate import CopyGate, HostGate, OpenGate
from gateway.chp.tally import Tally, quantile
from gateway.chp_fleet.journal import Journal, memories
from gateway.chp_fleet.passing import Passed
from gateway.proxy.interface import Client, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.table import Table
from tests.chp.harness import options, url

ME = Client("127.0.0.1", "http", "h", 80)
Told = dict[str, tuple[str, float]]


@pytest.fixture
def two() -> Iterator[tuple[int, int]]:
    """The memories of a journal."""
    made = memories()
    yield made
    for descriptor in made:
        os.close(descriptor)


def told(book: RouteBook) -> Told:
    """Return what a control that comes next has to know of a book."""
    return {record.key: (record.members, record.activity.last) for record in book.records()}


def taken_over(two: tuple[int, int]) -> RouteBook:
    """Be the control that comes next."""
    book = RouteBook()
    journal = Journal(two, book)
    assert journal.restore()
    journal.begin()
    return book


def change(book: RouteBook, seed: int, times: int) -> None:
    """Set and remove routes at random."""
    random = Random(seed)
    for number in range(times):
        key = f"/user/{random.randrange(50)}"
        if random.random() < 0.3:
            book.remove(key)
        else:
            book.put(key, {"target": url(9), "é": number, "long": "x" * random.randrange(400)})


def test_first_control_finds_nothing(two: tuple[int, int]) -> None:
    assert not Journal(two, RouteBook()).restore()


@pytest.mark.parametrize("seed", range(3))
def test_routes_are_taken_over_again_and_again(
    two: tuple[int, int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.chp_fleet.journal._SMALL", 20_000)  # it is rewritten often
    book = RouteBook()
    Journal(two, book).begin()
    for round_ in range(4):
        change(book, seed * 100 + round_, 500)
        after = taken_over(two)
        assert told(after) == told(book), seed
        book = after
    assert max(os.fstat(memory).st_size for memory in two) < 400_000


def test_a_kill_while_it_is_rewritten_loses_nothing(
    two: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = RouteBook()
    journal = Journal(two, book)
    journal.begin()
    change(book, 0, 100)
    real = {name: getattr(os, name) for name in ("pwrite", "ftruncate")}
    for steps in range(10):
        left = [steps]

        def dying(name: str, *arguments: object, left: list[int] = left) -> object:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real[name](*arguments)

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, lambda *given, name=name: dying(name, *given))
            try:
                journal._rewrite()
            except KeyboardInterrupt:
                pass
            else:
                assert steps == 4
                break
        next_book = RouteBook()
        next_journal = Journal(two, next_book)
        assert next_journal.restore()
        assert told(next_book) == told(book), steps
        next_journal.begin()
        book, journal = next_book, next_journal


def test_a_change_that_was_not_written_whole_is_left_out(two: tuple[int, int]) -> None:
    book = RouteBook()
    Journal(two, book).begin()
    book.put("/a", {"target": url(9)})
    (memory,) = [one for one in two if os.fstat(one).st_size]
    before = told(book)
    os.pwrite(memory, b'["/b", "{', os.fstat(memory).st_size)
    assert told(taken_over(two)) == before


def test_options_are_passed_on_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = options(
        "--workers=3", "--ssl-key=k", "--ssl-cert=c", "--custom-header=X: é", "--timeout=1500",
        f"--metrics-socket={tmp_path}", "--host-routing", "--redirect-port=80",
        environ={"CONFIGPROXY_AUTH_TOKEN": "t", "CONFIGPROXY_SSL_KEY_PASSPHRASE": "p"},
    )  # fmt: skip
    passed = Passed(made, "fleet", "\0name")
    environment = passed.environment({"CONFIGPROXY_AUTH_TOKEN": "t", "PATH": "/bin"})
    assert set(environment) == {"PATH", "NBGATE_PROXY_FLEET"}
    monkeypatch.setattr(os, "environ", dict(environment))
    assert Passed.take() == passed
    assert set(os.environ) == {"PATH"}, "children of its own are not told"
    assert passed.without_token().options.token == ""


PATHS = [
    b"/",
    b"/a",
    b"/a/b?c",
    b"/a%2Fb",
    b"/%61",
    b"/%zz",
    b"/A",
    b"//a",
    b"/_chp_healthz",
    b"/b/",
]
HOSTS = [b"h", b"H:80", b"other", b"[::1]:80", b""]


@pytest.mark.parametrize("by_host", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_copy_decides_as_the_table_itself(path: bytes, host: bytes, *, by_host: bool) -> None:
    table: Table[Relay] = Table()
    copy: Table[RouteEntry] = Table()
    for key in ("/", "/a", "/a/b", "/h/a", "/h", "/[::1]/b"):
        relay = Relay(RouteEntry(key))
        table.put(key, relay)
        copy.put(key, relay.entry)
    head = RequestHead(b"GET", path, 11, [(b"Host", host)])
    kind = HostGate if by_host else OpenGate
    assert CopyGate(copy, by_host=by_host).decide(head, ME) == kind(table).decide(head, ME)


def test_counts_of_workers_add_up() -> None:
    total, workers = Tally(), [Tally(), Tally()]
    for number, worker in enumerate(workers, 1):
        worker.requests, worker.websockets = 3 * number, number
        worker.statuses[200] += number
        worker.looked_up(0.001 * number)
        worker.marked(2.0)
        total.add(worker.counts())
    total.add({"unknown": 1, "unknown 7": 1})
    assert (total.requests, total.websockets, total.lookups, total.marks) == (9, 3, 2, 2)
    assert (dict(total.statuses), total.mark_seconds) == ({200: 3}, 4.0)
    assert total.lookup_spread == workers[0].lookup_spread | workers[1].lookup_spread


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_quantiles_are_right_to_within_five_percent(share: float) -> None:
    tally = Tally()
    assert quantile(tally.lookup_spread, share) == 0.0
    taken = [10 ** Random(number).uniform(-7, -1) for number in range(2000)]
    for seconds in taken:
        tally.looked_up(seconds)
    exact = sorted(taken)[round(share * len(taken)) - 1]
    assert quantile(tally.lookup_spread, share) == pytest.approx(exact, rel=0.05)
    tally.looked_up(0.0)  # a clock may stand still
