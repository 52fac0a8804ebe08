from __future__ import annotations

from dataclasses import replace

from bench.lifecycle.back import Back
from bench.lifecycle.noticed import Noticed
from bench.lifecycle.report import Measured, are_good, document, percentile, table

QUIET = [0.001] * 98 + [0.002] * 2
BUSY = [0.001] * 90 + [0.003] * 10
RUN = Measured(True, 200, [QUIET, QUIET], [BUSY, QUIET], 80.0, in_order=True, complete=True)
SLOW = replace(RUN, busy=[[0.005] * 100, QUIET])

NOTICED = Noticed([0.004, 0.002, 0.003], [0.25])
BACK = Back([0.03, 0.04], [0.5])


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(QUIET, 0.98) == 0.001
    assert percentile(QUIET, 0.99) == 0.002
    assert percentile([7.0], 0.99) == 7.0


def test_goal_is_twice_the_quiet_value_and_nobody_lost_or_overtaken() -> None:
    assert RUN.ratio == 1.5
    assert are_good([RUN])
    assert not are_good([SLOW])
    assert are_good([replace(SLOW, apart=False)])  # the engine takes the time of who is asked
    assert not are_good([replace(RUN, in_order=False)])
    assert not are_good([replace(RUN, complete=False)])


def test_median_of_several_runs_is_compared_with_the_goal_and_nobody_lost_in_any() -> None:
    assert are_good([SLOW, RUN, RUN])
    assert not are_good([SLOW, RUN, SLOW])
    assert not are_good([RUN, replace(RUN, complete=False), RUN])
    text = document([[RUN, SLOW, RUN]], NOTICED, BACK, {})
    assert "1.50 × the quiet one (goal: at most 2 ×, met)" in text
    assert "the median run of 3: 1.50, 2.50, 1.50 ×" in text


def test_results_say_what_was_found() -> None:
    text = document([[replace(RUN, in_order=False)]], NOTICED, BACK, {"date": "today"})
    assert "- date: today" in text
    assert "1.50 × the quiet one" in text
    assert "NOT in order" in text
    assert "| through the gateway, quiet | 100 | 1.0 | 2.0 | 2.0 |" in table([[RUN]], NOTICED, BACK)
    assert "| itself, while they start | 100 | 1.0 | 2.0 | 2.0 |" in table([[RUN]], NOTICED, BACK)
    assert "| `docker kill`, since its end | 3 | 3.0 | 4.0 | 4.0 |" in text
    assert "| its server was paused | 2 | 30.0 | 40.0 | 40.0 |" in text
