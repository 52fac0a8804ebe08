from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from gateway.spawners.network import (
    AddressPool,
    bridge_name,
    gateway_address,
    httpd_address,
    network_name,
)

SMALL = ipaddress.IPv4Network("10.0.0.0/24")
DEFAULT = ipaddress.IPv4Network("10.213.0.0/20")


def test_two_hundred_notebooks_get_an_address_each() -> None:
    pool = AddressPool(SMALL)

    taken = [pool.take() for _ in range(200)]

    assert len(set(taken)) == 200
    assert None not in taken


def test_reserved_and_broadcast_addresses_are_never_given_out() -> None:
    pool = AddressPool(SMALL)

    taken = {pool.take() for _ in range(239)}

    assert pool.take() is None
    assert taken == {f"10.0.0.{last}" for last in range(16, 255)}


def test_released_address_comes_last() -> None:
    pool = AddressPool(SMALL)
    first = pool.take()
    assert first is not None
    pool.release(first)

    order = [pool.take() for _ in range(239)]

    assert order[-1] == first


def test_addresses_in_use_are_stepped_over() -> None:
    pool = AddressPool(SMALL)
    pool.use(["10.0.0.16", "10.0.0.17", "10.0.0.2"])

    assert pool.take() == "10.0.0.18"


def test_reserved_address_in_use_never_becomes_free() -> None:
    pool = AddressPool(SMALL)
    pool.use(["10.0.0.2"])
    pool.keep_only(set())

    assert "10.0.0.2" not in {pool.take() for _ in range(239)}


def test_addresses_of_containers_that_others_removed_come_back() -> None:
    pool = AddressPool(SMALL)
    for _ in range(239):
        pool.take()

    pool.keep_only({f"10.0.0.{last}" for last in range(20, 255)})

    assert {pool.take() for _ in range(4)} == {f"10.0.0.{last}" for last in range(16, 20)}
    assert pool.take() is None


def test_new_gateway_begins_elsewhere() -> None:
    assert AddressPool(SMALL, first=100).take() == "10.0.0.116"


@given(st.lists(st.booleans(), max_size=600), st.integers(0, 300))
def test_no_address_has_two_holders(moves: list[bool], first: int) -> None:
    pool = AddressPool(SMALL, first)
    held: list[str] = []
    for take in moves:
        if take:
            address = pool.take()
            assert (address is None) == (len(held) == 239)
            if address is not None:
                assert address not in held
                held.append(address)
        elif held:
            pool.release(held.pop(0))


def test_names_fit_the_kernel_and_the_engine() -> None:
    assert network_name("0a1b2c3d") == "nbgate-0a1b2c3d"
    assert bridge_name("0a1b2c3d4e5f") == "nbg-0a1b2c3d"
    assert len(bridge_name("0a1b2c3d4e5f")) <= 15


def test_gateway_and_httpd_have_fixed_addresses() -> None:
    assert (gateway_address(DEFAULT), httpd_address(DEFAULT)) == ("10.213.0.2", "10.213.0.3")
