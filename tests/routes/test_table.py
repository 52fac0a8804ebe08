from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.keys import InvalidKey, canonical_host, canonical_path
from routes.table import Table


def table_of(*keys: str) -> Table[str]:
    table: Table[str] = Table()
    for key in keys:
        table.put(key, key)
    return table


def matched(table: Table[str], path: str, host: str = "gate.test") -> str | None:
    return table.match(host.encode("latin-1"), path.encode())


@pytest.mark.parametrize(
    "path", ["/nb/x", "/nb/x/", "/nb/x/lab", "/nb/x?a=/nb/y", "/nb/x/?a", "/nb/x//a", "/nb/%78/a"]
)
def test_path_key_matches_on_segment_boundaries(path: str) -> None:
    assert matched(table_of("/nb/x"), path) == "/nb/x"


@pytest.mark.parametrize(
    "path", ["/nb/xy", "/nb", "/", "//nb/x", "/NB/x", "/nb%2Fx", "/nb/x%2Fa", "/nb/x%3Fa", "*", ""]
)
def test_path_key_matches_nothing_else(path: str) -> None:
    assert matched(table_of("/nb/x"), path) is None


def test_longest_prefix_wins() -> None:
    table = table_of("/", "/nb", "/nb/x/lab/deep")
    assert matched(table, "/nb/x/lab/deep/er") == "/nb/x/lab/deep"
    assert matched(table, "/nb/x/lab") == "/nb"
    assert matched(table, "/other") == "/"
    assert matched(table, "/") == "/"


def test_host_wins_over_path() -> None:
    table = table_of("x.nb.test", "/nb/x", "/")
    assert matched(table, "/nb/x", host="x.nb.test") == "x.nb.test"
    assert matched(table, "/nb/x", host="y.nb.test") == "/nb/x"


@pytest.mark.parametrize("host", ["X.NB.Test", "x.nb.test:8000", "x.nb.test.", "X.nb.test.:443"])
def test_host_is_case_insensitive_and_ignores_the_port(host: str) -> None:
    assert matched(table_of("x.nb.test"), "/", host=host) == "x.nb.test"


def test_ipv6_host_matches_in_every_spelling() -> None:
    assert matched(table_of("[::1]"), "/", host="[0:0::1]:8000") == "[::1]"


def test_paths_that_need_encoding_match_by_the_canonical_form() -> None:
    table: Table[str] = table_of("/user/jos%C3%A9", "/user/a%20b")
    assert table.match(b"", "/user/josé/lab".encode()) == "/user/jos%C3%A9"
    assert table.match(b"", b"/user/jos%c3%a9") == "/user/jos%C3%A9"
    assert table.match(b"", b"/user/a b/lab") == "/user/a%20b"


def test_key_that_is_put_is_brought_into_canonical_form_or_refused() -> None:
    assert table_of("X.nb.test:80").get("x.nb.test") == "X.nb.test:80"
    with pytest.raises(InvalidKey):
        table_of("/a b")


def test_removed_key_matches_no_more_and_longer_ones_still_do() -> None:
    table = table_of("/nb/x", "/nb/x/deep/er", "x.test")
    for key in ("/nb/x", "x.test", "/never/there"):
        table.remove(key)
    assert matched(table, "/nb/x/lab", host="x.test") is None
    assert matched(table, "/nb/x/deep/er") == "/nb/x/deep/er"
    assert [key for key, _ in table.items()] == ["/nb/x/deep/er"]
    assert len(table) == 1


def test_removing_and_putting_the_root_keeps_the_rest() -> None:
    table = table_of("/", "/a")
    table.remove("/")
    assert (matched(table, "/b"), matched(table, "/a")) == (None, "/a")
    table.put("/", "again")
    assert matched(table, "/b") == "again"


_segment = st.sampled_from(["a", "b", "%2F", "x%20y", "", "c~"])
_key = st.lists(_segment, max_size=4).map(lambda segments: "/" + "/".join(segments))
_host = st.sampled_from(["a.test", "b.test"])
_raw_segment = st.sampled_from(["a", "b", "%2f", "x y", "", "c%7E", "%61", "?", "%"])
_raw = st.lists(_raw_segment, max_size=6).map(lambda segments: "/" + "/".join(segments))


def _reference(routes: dict[str, int], host: str, path: str) -> int | None:
    name = canonical_host(host.encode())
    if name in routes:
        return routes[name]
    asked = canonical_path(path.encode())
    fitting = [key for key in routes if _prefixes(key, asked)]
    return routes[max(fitting, key=len)] if fitting else None


def _prefixes(key: str, path: str) -> bool:
    return key.startswith("/") and (key in {"/", path} or path.startswith(key + "/"))


@given(
    st.dictionaries(st.one_of(_key, _host), st.integers(), max_size=8),
    st.sets(st.one_of(_key, _host), max_size=4),
    st.sampled_from(["a.test", "B.TEST:80", "c.test"]),
    _raw,
)
def test_table_agrees_with_a_naive_reference(
    puts: dict[str, int], removes: set[str], host: str, path: str
) -> None:
    table: Table[int] = Table()
    routes: dict[str, int] = {}
    for key, value in puts.items():
        table.put(key, value)
        routes[canonical_path(key.encode()).rstrip("/") or "/" if key[0] == "/" else key] = value
    for key in removes & routes.keys():
        table.remove(key)
        del routes[key]
    assert table.match(host.encode(), path.encode()) == _reference(routes, host, path)
    assert dict(table.items()) == routes


def calls_of(work: Callable[[], object]) -> int:
    """Return the number of Python and C calls that `work` makes: a cost without a clock."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    # A collection in between would count the callbacks that others have hung on it.
    gc.disable()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


@pytest.mark.parametrize("path", [b"/nb/x/lab?a", b"/other", b"/nb/x" + b"/" * 8192])
def test_cost_of_a_match_does_not_grow_with_routes(path: bytes) -> None:
    few, many = table_of("/nb/x"), table_of("/nb/x", *(f"/nb/y{n}" for n in range(2000)))
    assert calls_of(lambda: many.match(b"h", path)) == calls_of(lambda: few.match(b"h", path))


def test_long_path_of_slashes_costs_what_a_short_one_does() -> None:
    table = table_of("/nb/x", "/a/b/c/d")
    short = calls_of(lambda: table.match(b"h", b"/nb/x/lab"))
    assert calls_of(lambda: table.match(b"h", b"/nb/x" + b"/" * 8192)) <= short
    assert calls_of(lambda: table.match(b"h", b"/" * 8192)) <= short + 2


def test_many_neighbours_are_found_anew_after_each_change() -> None:
    table: Table[int] = Table()
    for number in range(10_001):
        table.put(f"/many/{number}", number)
    assert [table.match(b"", b"/many/7/x") for _ in range(2)] == [7, 7]
    table.put("/many/7", -7)
    assert table.match(b"", b"/many/7/x") == -7
    table.put("/many/7/x", 8)
    assert (table.match(b"", b"/many/7/x"), table.match(b"", b"/many/7/y")) == (8, -7)
    table.remove("/many/7/x")
    assert table.match(b"", b"/many/7/x") == -7
    table.remove("/many/7")
    assert table.match(b"", b"/many/7/x") is None
    found = [table.match(b"", f"/many/{number}".encode()) for number in range(10_001)]
    assert found == [None if number == 7 else number for number in range(10_001)]
