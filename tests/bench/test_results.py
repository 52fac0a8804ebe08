from __future__ import annotations

from bench.datapath.goals import Goal, all_goals
from bench.datapath.report import case_table, document, goals_table
from bench.datapath.results import CaseResult, Metric
from bench.datapath.runner import rotated

_RATE = Metric("rate", "requests/s", 0, compared=True)


def _result() -> CaseResult:
    result = CaseResult("get", "Small GET", (_RATE, Metric("cpu", "µs", 1)))
    for nginx, ours in ((1000, 700), (5000, 800), (2000, 1100)):
        result.add("nginx", {"rate": nginx, "cpu": 10.04})
        result.add("nbgate", {"rate": ours})
    return result


def test_ratio_is_the_median_of_the_rounds() -> None:
    result = _result()
    assert result.median("nginx", "rate") == 2000
    assert result.ratio("nbgate", "rate", "nginx") == 0.55
    assert result.ratio("nbgate", "rate", "chp") is None
    assert result.median("nbgate", "cpu") is None


def test_ratio_is_of_medians_where_a_round_is_missing() -> None:
    result = _result()
    result.add("nginx", {"rate": 3000})
    assert result.ratio("nbgate", "rate", "nginx") == 800 / 2500


def test_table_has_medians_spans_and_ratios() -> None:
    lines = case_table(_result()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
    assert cells[0] == ["peer", "requests/s", "× nginx", "µs"]
    assert cells[2] == ["nginx", "2,000 (1,000–5,000)", "1.00", "10.0 (10.0–10.0)"]
    assert cells[3] == ["nbgate", "800 (700–1,100)", "0.55", "–"]


def test_two_workers_are_compared_with_one() -> None:
    result = CaseResult("workers", "Small GET", (_RATE,))
    result.add("--workers 1", {"rate": 1000})
    result.add("--workers 2", {"rate": 900})
    last = case_table(result).splitlines()[5]
    assert [cell.strip() for cell in last.strip("|").split("|")] == ["--workers 2", "900", "0.90"]
    assert "- Measurements of each: 1." in case_table(result)


def test_failures_and_disturbance_are_told_below_the_table() -> None:
    result = _result()
    result.fail("chp", 2, "no whole\nanswer")
    result.disturbed = 0.3
    text = case_table(result)
    assert "- chp failed in round 2: no whole answer" in text
    assert "up to 30% of a core" in text


def test_goals_are_judged_by_must_and_by_aim() -> None:
    results = {"get": _result()}
    goals = [
        Goal("rate", "get", "rate", "nginx", 0.3, 0.8),
        Goal("cost", "get", "rate", "nginx", 0.3, None, at_least=False),
        Goal("alone", "get", "rate", "", 900, 500, at_least=False, unit=" r/s"),
        Goal("absent", "other", "rate", "nginx", 1, 1),
    ]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in goals_table(goals, results).splitlines()[2:]
    ]
    assert rows == [
        ["rate", "≥ 0.3 × nginx", "≥ 0.8 × nginx", "0.55", "yes", "**no**"],
        ["cost", "≤ 0.3 × nginx", "", "0.55", "**no**", ""],
        ["alone", "≤ 900 r/s", "≤ 500 r/s", "800.00 r/s", "yes", "**no**"],
        ["absent", "≥ 1 × nginx", "≥ 1 × nginx", "not measured", "", ""],
    ]


def test_document_has_facts_goals_cases_and_configurations() -> None:
    text = document({"processor": "one"}, all_goals(), {"get": _result()}, {"nginx": "worker 1;\n"})
    for part in ("- processor: one", "| measure", "### Small GET", "```\nworker 1;\n```"):
        assert part in text


def test_every_contender_is_first_in_turn() -> None:
    assert [rotated(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert rotated(["a", "b", "c"], 2) == ["c", "a", "b"]
