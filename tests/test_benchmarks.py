"""What ``make bench`` says of figures: which reach their limit, which got worse."""

from __future__ import annotations

import pytest

from benchmarks import measure, report, targets
from benchmarks.targets import Target

RATIO = Target("a / b", 0.5, "gp", "a time", ("b time", "c time"))
WORST = Target("worst", 1.0, "gp", "* time", ("* other",))


def test_every_target_belongs_to_a_benchmark_and_is_named_once():
    assert {target.benchmark for target in targets.TARGETS} == set(report.NAMES) - {"layers"}
    assert len({target.name for target in targets.TARGETS}) == len(targets.TARGETS)


def test_of_several_peers_the_best_counts():
    ways = {"a": {"time": 2.0}, "b": {"time": 8.0}, "c": {"time": 4.0}}
    assert RATIO.value(ways) == 0.5
    assert RATIO.value({name: ways[name] for name in "ab"}) == 0.25


@pytest.mark.parametrize("missing", ["a", "b"])
def test_what_was_not_measured_has_no_value(missing):
    ways = {"a": {"time": 2.0}, "b": {"time": 8.0}}
    del ways[missing]
    assert RATIO.value(ways) is None


def test_of_all_ways_the_worst_counts():
    assert WORST.value({"x": {"time": 1.0, "other": 2.0}, "y": {"time": 3.0, "other": 2.0}, "z": {}}) == 1.5
    assert WORST.value({}) is None


def test_the_fastest_round_counts_and_the_largest_memory():
    rounds = {"a": {"time": [3.0, 2.0], "peak_gb": [1.0, 1.5]}}
    assert measure.best(rounds) == {"a": {"time": 2.0, "peak_gb": 1.5}}


@pytest.mark.parametrize("now, told", [(0.59, False), (0.61, True), (0.3, False)])
def test_a_ratio_that_grew_by_a_fifth_is_worse(now, told):
    rows = targets.worse({"1-cpu": {RATIO: now}}, {"1-cpu": {RATIO: 0.5}})
    assert bool(rows) == told


def test_seconds_are_not_compared_nor_what_was_not_committed():
    seconds = RATIO._replace(unit="s")
    assert targets.worse({"1-cpu": {seconds: 9.0, RATIO: 9.0}}, {"1-cpu": {seconds: 1.0}}) == []


def test_the_page_says_what_is_reached_what_is_not_and_what_is_missing():
    figures = {"embedded": {"data": [3.0], "forward": [1.0], "pool2": [9.0]}}
    result = {"facts": {"date": "today"}, "figures": {"1-cpu": figures}}
    page = targets.page({"gp": result}, {})
    assert "| FCN-32s, GP at data / own forward | 3.4 | 3 reached |" in page
    assert "| FCN-32s, GP at pool2 / own forward | 3 | 9 **NOT reached** |" in page
    assert "- FCN-32s, forward: embedded / OpenCV (gp)" in page


@pytest.mark.parametrize("text", ["", "2", "0-cpu", "1-sun", "cpu-1"])
def test_settings_that_are_none(text):
    with pytest.raises(measure.argparse.ArgumentTypeError, match="THREADS-cpu"):
        measure.Setting.parse(text)


def test_a_setting_is_written_as_it_is_read():
    assert str(measure.Setting.parse("2-wall")) == "2-wall"


def test_results_do_not_name_a_folder_of_the_machine(monkeypatch, tmp_path):
    for told in (["--out", str(tmp_path)], [f"--out={tmp_path}"]):
        arguments = ["--rounds", "1", *told, "--settings", "1-cpu"]
        monkeypatch.setattr("sys.argv", ["bench_gp.py", *arguments])
        result = report.begin("gp", measure.parser("").parse_args(arguments))
        assert result["command"] == "python -m benchmarks.bench_gp --rounds 1 --settings 1-cpu"
