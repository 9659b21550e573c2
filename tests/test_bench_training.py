"""The stored trials of the training experiments; nothing is trained."""

import json

from bench.training.protocol import TUNING_SEED, Trials


def trial(method, lr=0.01):
    return {"method": method, "lr": lr, "seed": TUNING_SEED, "diverged": False, "validation": 1.0,
            "state_bytes": 8, "train": [1.0] * 5}  # fmt: skip


def test_trials_of_chosen_methods_are_removed(tmp_path):
    trials = Trials("digits", tmp_path)
    for method in ("adamw", "ours", "muon"):
        trials.add(trial(method))
    trials.remove(["adamw", "muon"])
    assert trials.tuned("adamw") == {}
    assert trials.tuned("ours") == {0.01: 1.0}
    (line,) = (tmp_path / "digits.jsonl").read_text().splitlines()
    assert json.loads(line)["method"] == "ours"
    assert [t["method"] for t in Trials("digits", tmp_path).all] == ["ours"]


def test_trials_that_are_not_there_can_be_removed(tmp_path):
    Trials("digits", tmp_path).remove(["adamw"])
    assert Trials("digits", tmp_path).all == []
