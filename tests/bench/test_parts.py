from __future__ import annotations

import os
import sys
import time

import pytest

from bench.datapath.cases import all_cases
from bench.datapath.cores import cpu_seconds, memory_bytes, parse_busy, parse_stat, tree
from bench.datapath.fixed_rate import percentile, timer
from bench.datapath.goals import all_goals
from bench.datapath.requests import FULL, head
from bench.datapath.routefile import paths, wrk_script
from bench.datapath.sink import BadFrame, echo_frames
from bench.datapath.sockets import client_frame, server_frame_bytes
from bench.datapath.upstream import SMALL_BYTES, small_body


@pytest.mark.parametrize("size", [0, 1, 125, 126, 16384, 65535])
def test_frames_come_back_without_their_mask(size: int) -> None:
    frame = client_frame(size)
    echoed, used = echo_frames(frame * 2 + frame[:-1])
    assert used == 2 * len(frame)
    assert len(echoed) == 2 * server_frame_bytes(size)
    assert echoed.endswith(frame[len(frame) - size :])


def test_other_masks_are_undone() -> None:
    masked = bytes((0x82, 0x85)) + b"\x01\x02\x03\x04" + bytes((0x69, 0x67, 0x6F, 0x68, 0x6E))
    assert echo_frames(masked) == (b"\x82\x05hello", len(masked))


def test_frames_of_more_than_64_kib_are_refused() -> None:
    with pytest.raises(BadFrame):
        echo_frames(b"\x82\xff" + bytes(12))


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert [percentile(values, percent) for percent in (50, 99, 99.9, 100)] == [500, 990, 999, 1000]
    assert percentile([7.0], 50) == 7.0


def test_timer_fires_when_something_is_due_and_not_before() -> None:
    interval = 1 / 3000
    began = time.perf_counter() - 10.2 * interval  # ten are due already
    descriptor = timer(began, interval)
    try:
        fired = 0
        for _ in range(5):
            fired += int.from_bytes(os.read(descriptor, 8), sys.byteorder)
            assert time.perf_counter() >= began + fired * interval
        assert fired >= 14
    finally:
        os.close(descriptor)


def test_process_names_may_hold_anything() -> None:
    stat = parse_stat("42 (a) b (c) S 7 42 42 0 -1 4194304 1 0 0 0 11 22 33 44 20 0 1 0 5")
    assert (stat.pid, stat.parent, stat.ticks) == (42, 7, 110)


def test_interrupts_and_waiting_are_not_busy() -> None:
    text = "cpu  9 9 9 9\ncpu0 1 2 3 400 500 600 700 8 0 0\ncpu1 10 20 30 4 5 6 7 80 0 0\n"
    assert (parse_busy(text, 0), parse_busy(text, 1)) == (14, 140)


def test_own_process_is_the_root_of_its_tree() -> None:
    assert tree(os.getpid())[0].pid == os.getpid()
    assert cpu_seconds(os.getpid()) > 0
    assert memory_bytes(os.getpid()) > 1 << 20


def test_full_requests_have_ten_headers_and_cookies() -> None:
    headers = FULL.headers("http://127.0.0.1:1", "nbgate-session=x")
    assert len(headers) == 11
    wire = head("GET", "/nb/bench/", "127.0.0.1:1", headers)
    assert wire.startswith(b"GET /nb/bench/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")
    assert b"nbgate-session=x\r\n\r\n" in wire


def test_small_answer_has_200_bytes() -> None:
    assert len(small_body()) == SMALL_BYTES


def test_paths_are_spread_over_all_routes() -> None:
    spread = paths(1_000_000)
    assert (len(spread), len(set(spread))) == (1024, 1024)
    assert spread[0].startswith("/r/0000000/")
    assert len({path[:10] for path in paths(10)}) == 10
    assert "Host: h:1" in wrk_script(10, "h:1")


def test_goals_are_about_cases_that_there_are() -> None:
    cases = {case.name: case for case in all_cases()}
    for goal in all_goals():
        assert goal.metric in {metric.name for metric in cases[goal.case].metrics}
        contenders = cases[goal.case].contenders
        if contenders is not None:
            assert {goal.subject, goal.against} <= set(contenders)
