"""The comparison of speed with stored results: fixed rows in, changes out; nothing is timed."""

import json
import sys

import pytest

from bench import __main__ as bench
from bench import compare, harness, rows
from bench.rows import LIMIT, OURS, Row


def row(work, ours, group="", **others):
    times = {OURS: [ours, 2 * ours]} | {name: [t, 3 * t] for name, t in others.items()}
    return Row(work, times, group=group)


def changes(now, then, scenario="functions"):
    return compare.compare(scenario, now, then).changes


def test_a_ratio_is_that_of_the_shortest_times():
    (change,) = changes([row("a", 2.0, peer=4.0)], [row("a", 1.0, peer=4.0)])
    assert (change.then, change.now, change.factor) == (0.25, 0.5, 2.0)
    assert (change.seconds_then, change.seconds_now) == (1.0, 2.0)


def test_a_slower_machine_changes_nothing():
    (change,) = changes([row("a", 10.0, peer=40.0)], [row("a", 1.0, peer=4.0)])
    assert change.factor == 1


def test_of_several_references_that_with_the_smallest_change_counts():
    now = row("a", 3.0, noisy=1.0, steady=10.0, limit=2.0)
    then = row("a", 1.0, noisy=1.0, steady=5.0, limit=1.9)
    (change,) = changes([now], [then])
    assert change.reference == "steady"
    assert change.factor == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("scenario", "own"),
    [("product", "float64"), ("family", "without checks"), ("samples", LIMIT)],
)
def test_code_of_blockmat_is_no_reference(scenario, own):
    found = compare.compare(scenario, [row("a", 4.0, **{own: 4.0})], [row("a", 1.0, **{own: 1.0})])
    assert not found.changes
    assert found.alone == [f"{scenario}: a"]
    then, now = row("a", 1.0, **{own: 1.0, "peer": 1.0}), row("a", 4.0, **{own: 4.0, "peer": 1.0})
    assert [c.factor for c in changes([now], [then], scenario)] == [4.0]


def test_own_names_are_those_of_the_scenarios():
    for name, own in compare.OWN.items():
        _, stored = rows.load(name, quick=True)
        assert own <= {competitor for row in stored for competitor in row.times}, name


def test_rows_that_are_new_gone_or_alone_are_named():
    now = [row("a", 1.0, peer=1.0), row("b", 1.0, peer=1.0), row("d", 1.0), Row("no times")]
    then = [row("a", 1.0, peer=1.0), row("c", 1.0, peer=1.0), row("d", 1.0)]
    found = compare.compare("functions", now, then)
    assert [c.work for c in found.changes] == ["a"]
    assert found.new == ["functions: b"]
    assert found.gone == ["functions: c"]
    assert found.alone == ["functions: d"]
    text = "\n".join(compare.verdict(found, 1.5))
    assert "new, not compared (1): functions: b" in text
    assert "gone (1): functions: c" in text
    assert "without a reference, not compared (1): functions: d" in text


def test_groups_tell_rows_of_one_name_apart():
    now = [row("a", 1.0, "x", peer=1.0), row("a", 6.0, "y", peer=1.0)]
    then = [row("a", 1.0, "x", peer=1.0), row("a", 2.0, "y", peer=1.0)]
    assert [c.factor for c in changes(now, then)] == [1.0, 3.0]


def test_the_slowest_row_is_first_and_the_verdict_counts():
    now = [row("same", 1.0, peer=2.0), row("slower", 2e-3, peer=1e-3), row("faster", 0.5, peer=1.0)]
    then = [
        row("same", 1.0, peer=2.0),
        row("slower", 1e-3, peer=1e-3),
        row("faster", 1.0, peer=1.0),
    ]
    found = compare.compare("functions", now, then)
    headings, texts = compare.table(found)
    assert headings[0] == "change"
    assert texts[0] == ["2.00", "functions", "slower", "peer", "2", "1", "2 ms", "1 ms"]
    assert [text[2] for text in texts] == ["slower", "same", "faster"]
    assert (
        compare.verdict(found, 1.5)[0] == "1 of 3 operations slower than 1.5 times the stored ratio"
    )
    assert compare.verdict(found, 2.5)[0].startswith("no operation is slower than 2.5 times")


def test_rows_that_seem_slower_are_measured_again():
    then = [row("a", 1.0, peer=1.0)]
    noisy, quiet = [row("a", 9.0, peer=1.0)], [row("a", 1.0, peer=1.0)]
    runs = iter([noisy, quiet])
    found = compare.measured("functions", lambda: next(runs), then, 1.5)
    assert [c.factor for c in found.changes] == [1.0]
    assert next(runs, None) is None


def test_rows_that_stay_slower_are_measured_a_few_times():
    n_runs = 0

    def measure():
        nonlocal n_runs
        n_runs += 1
        return [row("a", 9.0, peer=1.0)]

    found = compare.measured("functions", measure, [row("a", 1.0, peer=1.0)], 1.5)
    assert [c.factor for c in found.changes] == [9.0]
    assert n_runs == 1 + compare.REPEATS


def test_machines_are_named_if_they_differ():
    here = rows.machine()
    other = here | {"processor": "another one"}
    assert compare.machines([{"machine": here}] * 2) == [f"stored: {rows.describe_machine(here)}"]
    lines = compare.machines([{"machine": other}])
    assert lines[0].startswith("stored: another one, ")
    assert lines[1] == f"here: {rows.describe_machine(here)}"


def test_quick_results_of_the_compared_scenarios_are_stored():
    for name in compare.SCENARIOS:
        content, found = rows.load(name, quick=True)
        assert content["scenario"] == name
        assert any(OURS in row.times for row in found), name


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder of results with quick ones of `functions`, whose measurement is replaced."""
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    rows.save("functions", "Title", [row("a", 1.0, peer=1.0)], quick=True)
    now = [row("a", 2.0, peer=1.0)]
    monkeypatch.setattr(compare, "_measure", lambda name: lambda: now)
    monkeypatch.setattr(harness, "use_one_thread", lambda: None)
    return tmp_path


def test_quick_results_have_a_folder_of_their_own(stored):
    assert [p.name for p in stored.rglob("*.json")] == ["functions.json"]
    assert json.loads((stored / "quick" / "functions.json").read_text())["rows"][0]["work"] == "a"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], None), (["--fail-above", "1.8"], 1), (["--fail-above", "3"], None)],
)
def test_the_command_fails_only_if_asked(stored, monkeypatch, capsys, arguments, status):
    monkeypatch.setattr(sys, "argv", ["bench", "functions", "--compare", *arguments])
    if status is None:
        bench.main()
    else:
        with pytest.raises(SystemExit) as caught:
            bench.main()
        assert caught.value.code == status
    text = capsys.readouterr().out
    assert "2.00" in text
    assert ("1 of 1 operations slower" in text) == (arguments != ["--fail-above", "3"])


def test_a_scenario_without_stored_results_is_named(stored, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "product", "--compare"])
    with pytest.raises(SystemExit, match=r"product.json\n.*--quick --save"):
        bench.main()


@pytest.mark.parametrize("arguments", [["--fail-above", "2"], ["--save"]])
def test_options_that_do_not_fit_are_refused(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["bench", "product", *arguments])
    with pytest.raises(SystemExit):
        bench.main()
    assert "belongs to" in capsys.readouterr().err
