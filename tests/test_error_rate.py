"""The error rate of the whole path: how an experiment ends, what is counted, and what is read again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
PATH = list(sys.path)
sys.path[:0] = [str(FOLDER), str(FOLDER / "testbed")]
try:
    error_rate = importlib.import_module("error_rate")
finally:
    sys.path[:] = PATH


def ended(*findings, keeps_default=False, reason="λ=1 has the least expected validation loss"):
    comparisons = [SimpleNamespace(metric=metric, finding=SimpleNamespace(value=value)) for metric, value in findings]
    confirmation = SimpleNamespace(answer=SimpleNamespace(comparisons=comparisons)) if findings else None
    choice = SimpleNamespace(keeps_default=keeps_default)
    return SimpleNamespace(confirmation=confirmation, choice=choice, reason=reason)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ended(), "keep"),
        (ended(("accuracy", "hurts"), ("loss", "helps")), "helps"),
        (ended(("accuracy", "helps")), "no comparison"),
    ],
)
def test_an_experiment_ends_with_the_verdict_on_its_metric_or_without_one(found, said):
    assert error_rate.ended(found, "loss") == said


@pytest.mark.parametrize(
    ("found", "claims"),
    [(ended(), True), (ended(reason="λ=1 is better; the gain is not beyond noise"), False), (ended(keeps_default=True), False)],
)
def test_a_gain_is_claimed_where_it_is_said_to_be_beyond_noise(found, claims):
    assert error_rate.claims(found) == claims


def test_helps_are_counted_among_all_and_among_the_confirmed():
    names = ["keep"] * 12 + ["helps"] * 2 + ["hurts"] + ["equivalent"] * 2 + ["inconclusive"] * 2 + ["no comparison"]
    rows = [{"ended": name, "claims": k < 5} for k, name in enumerate(names)]
    text = error_rate.table({"reshuffled": rows, "too weak": rows[:4]})
    assert "| reshuffled | 20 | 25.0 % [8.7, 49.1] | 60.0 % [36.1, 80.9] | 8 | 10.0 % [1.2, 31.7] | 25.0 % [3.2, 65.1] |" in text
    assert "| 1 | 2 | 2 | 1 |" in text
    assert "| too weak | 4 | 100.0 % [39.8, 100.0] | 100.0 % [39.8, 100.0] | 0 | 0.0 % [0.0, 60.2] | - | 0 | 0 | 0 | 0 |" in text


def test_an_experiment_is_kept_under_the_mark_of_what_it_rests_on(tmp_path, monkeypatch):
    monkeypatch.setattr(error_rate, "SCRATCH", tmp_path)
    monkeypatch.setattr(error_rate.torch, "set_num_threads", lambda n: None)
    row = error_rate.tuned("too weak", 900, "this")
    assert (row["ended"], row["claims"], row["trainings"] <= 4 * error_rate.SEEDS) == ("keep", False, True)
    assert error_rate.rows_of("too weak", "this") == [row]
    assert error_rate.rows_of("too weak", "that") == []


def test_the_mark_changes_with_what_is_asked(monkeypatch):
    before = error_rate.mark_of()
    assert error_rate.mark_of() == before
    monkeypatch.setattr(error_rate, "SEEDS", 4)
    assert error_rate.mark_of() != before


def test_where_lambda_is_reshuffled_it_does_not_act_but_the_draws_differ():
    train = error_rate.Train("reshuffled")

    def losses(lam, seed=3):
        return train(SimpleTrial(lam, seed))["val_loss"]

    assert losses(0.1) == losses(0.1) != losses(0.2)
    weak = error_rate.Train("too weak")
    one, other = (weak(SimpleTrial(lam, 3))["val_loss"] for lam in (1e-9, 1e-7))
    assert one != other
    assert one == pytest.approx(other, rel=1e-4)


class SimpleTrial:
    """What a training reads of a trial."""

    def __init__(self, lam, seed):
        self.lam, self.seed = lam, seed

    def __getitem__(self, name):
        return self.lam
