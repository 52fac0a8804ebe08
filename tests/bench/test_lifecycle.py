from __future__ import annotations

from dataclasses import replace

from bench.lifecycle.back import Back
from bench.lifecycle.noticed import Noticed
from bench.lifecycle.report import Measured, document, percentile, table

QUIET = [0.001] * 98 + [0.002] * 2
BUSY = [0.001] * 90 + [0.003] * 10
RUN = Measured(True, 200, [QUIET, QUIET], [BUSY, QUIET], 80.0, in_order=True, complete=True)

NOTICED = Noticed([0.004, 0.002, 0.003], [0.25])
BACK = Back([0.03, 0.04], [0.5])


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(QUIET, 0.98) == 0.001
    assert percentile(QUIET, 0.99) == 0.002
    assert percentile([7.0], 0.99) == 7.0


def test_goal_is_twice_the_quiet_value_and_nobody_lost_or_overtaken() -> None:
    assert RUN.ratio == 1.5
    assert RUN.good
    slow = replace(RUN, busy=[[0.005] * 100, QUIET])
    assert not slow.good
    assert replace(slow, apart=False).good  # the engine takes the time of who is asked
    assert not replace(RUN, in_order=False).good
    assert not replace(RUN, complete=False).good


def test_results_say_what_was_found() -> None:
    text = document([replace(RUN, in_order=False)], NOTICED, BACK, {"date": "today"})
    assert "- date: today" in text
    assert "1.50 × the quiet one" in text
    assert "NOT in order" in text
    assert "| through the gateway, quiet | 100 | 1.0 | 2.0 | 2.0 |" in table([RUN], NOTICED, BACK)
    assert "| itself, while they start | 100 | 1.0 | 2.0 | 2.0 |" in table([RUN], NOTICED, BACK)
    assert "| `docker kill`, since its end | 3 | 3.0 | 4.0 | 4.0 |" in text
    assert "| its server was paused | 2 | 30.0 | 40.0 | 40.0 |" in text
