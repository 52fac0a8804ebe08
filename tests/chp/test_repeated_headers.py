"""A header block that came before is prepared once, however many routes its requests go to."""

from __future__ import annotations

from gateway.chp.headers import PlainRules, Rewriting
from gateway.proxy.interface import Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from gateway.proxy.repeated import RequestReader
from routes.keys import Target

BLOCK = b"Host: hub\r\nCookie: a=1\r\nKeep-Alive: x\r\n\r\n"
FORWARDING = b"X-Forwarded-Port: 80\r\n"


def relay(number: int) -> Relay:
    return Relay(RouteEntry(f"/user/{number}", Target(f"server-{number}", 8888)))


def read(reader: RequestReader, number: int) -> RequestHead:
    return reader.read(b"GET /user/%d/tree HTTP/1.1\r\n%b" % (number, BLOCK))


def test_a_block_is_prepared_once_for_all_routes() -> None:
    reader, rules = RequestReader(), PlainRules(Rewriting(custom=((b"X-Own", b"1"),)))
    prepared = set()
    for number in range(100):
        head = read(reader, number)
        made = rules.to_route(head, relay(number), FORWARDING, b"")
        assert made == (
            b"GET /user/%d/tree HTTP/1.1\r\nHost: hub\r\nCookie: a=1\r\n"
            b"X-Forwarded-Port: 80\r\nX-Own: 1\r\n\r\n" % number
        )
        assert head.standing is not None
        prepared.add(id(head.standing.lines))
    assert len(prepared) == 1


def test_a_name_of_the_target_is_each_targets_own() -> None:
    reader, rules = RequestReader(), PlainRules(Rewriting(change_origin=True))
    for number in (1, 2, 1):
        made = rules.to_route(read(reader, number), relay(number), FORWARDING, b"")
        assert made == (
            b"GET /user/%d/tree HTTP/1.1\r\nHost: server-%d:8888\r\nCookie: a=1\r\n"
            b"X-Forwarded-Port: 80\r\n\r\n" % (number, number)
        )


def test_a_client_without_a_name_for_the_host_gives_none_to_the_next_route() -> None:
    reader = RequestReader()
    for rules in (PlainRules(Rewriting()), PlainRules(Rewriting(change_origin=True))):
        for number in (1, 2):
            head = reader.read(b"GET /x HTTP/1.0\r\n\r\n")
            made = rules.to_route(head, relay(number), b"", b"")
            assert made == b"GET /x HTTP/1.1\r\nHost: server-%d:8888\r\n\r\n" % number
