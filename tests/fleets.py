"""Runs for tests of the fleet, and how its networks are held against those of single runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shrinkwise.experiments import data
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_model
from shrinkwise.experiments.engine.fleet import fleet, train_together
from shrinkwise.experiments.engine.fleet.fleet import Run, Trained
from shrinkwise.experiments.engine.fleet.training import Fleet
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Record, RunKey, Variant

DIGITS = data.digits(classes=range(5))
EXACT, ROUNDED = 1e-10, 1e-5
SGD = NamedOptimizer("sgd", lr=0.05)

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd with momentum": SGD,
    "plain sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True),
    "decoupled sgd": NamedOptimizer("sgd", lr=0.05, decay="decoupled"),
    "adam": NamedOptimizer("adam", lr=1e-2),
    "adamw": NamedOptimizer("adamw", lr=1e-2, decay="decoupled"),
    "adam with betas": lambda groups: torch.optim.Adam(groups, lr=1e-2, betas=(0.8, 0.99), eps=1e-6),
}


class Doubled(MLPFactory):
    """The reference network in float64."""

    def __call__(self, variant: Variant) -> Any:
        return super().__call__(variant).double()


NETWORK = Doubled(64, (16, 12), 5)


def recipe(model: Any = NETWORK, **changed: Any) -> Recipe:
    """25 epochs of two steps."""
    given: dict[str, Any] = {"optimizer": SGD, "epochs": 25, "batch_size": 64, "task": "classification", "n_outputs": 5}
    return Recipe(model=model, **(given | changed))


def runs_of(
    variants: Iterable[Variant],
    seeds: Iterable[int] = (0, 1),
    noises: Iterable[float] = (0.0, 0.2),
    dtype: type = np.float64,
    n_train: int = 128,
) -> list[Run]:
    """Return every variant on every seed and label noise, on small training sets of digits."""
    runs = []
    for seed in seeds:
        for noise in noises:
            condition = Condition(train_size=n_train, label_noise=noise)
            split = as_dtype(data.cut(DIGITS, condition, seed), dtype)
            runs += [(split, RunKey(variant, condition, seed)) for variant in variants]
    return runs


def as_dtype(split: data.Split, dtype: type) -> data.Split:
    """Return the same rows in another precision."""
    return dataclasses.replace(
        split, x_train=split.x_train.astype(dtype), x_val=split.x_val.astype(dtype), x_test=split.x_test.astype(dtype)
    )


def train_networks(recipe: Recipe, runs: Sequence[Run], size: int | None = None) -> Iterator[Trained]:
    """Train runs in fleets, and yield the network and the record of each."""
    return (trained for ended in train_together(recipe, runs, size, keep=True) for trained in ended)


def differences(recipe: Recipe, runs: Sequence[Run], size: int | None = None) -> list[float]:
    """Train runs in fleets and alone, and return the largest relative difference of a tensor for each run.

    Metrics are compared on the way: equal to one example in the test rows, statuses, steps and epochs exactly.
    """
    together = {record.key: (model, record) for model, record in train_networks(recipe, runs, size)}
    assert len(together) == len(runs)
    found = []
    for split, key in runs:
        model, record = train_model(recipe, split, key)
        its_model, its_record = together[key]
        compare_records(its_record, record, 1 / len(split.y_test))
        found.append(largest_difference(its_model, model) if its_model is not None else 0.0)
    return found


def largest_difference(one: nn.Module | None, other: nn.Module) -> float:
    """Return the largest ‖difference‖/‖weights‖ of a tensor of two networks."""
    assert one is not None
    its = dict(one.named_parameters()) | dict(one.named_buffers())
    own = dict(other.named_parameters()) | dict(other.named_buffers())
    return max(_relative(its[name].detach().double(), tensor.detach().double()) for name, tensor in own.items())


def compare_records(one: Record, other: Record, one_example: float) -> None:
    """Assert that two records of one run say the same, times and last digits apart."""
    assert (one.status, one.n_steps, one.key) == (other.status, other.n_steps, other.key)
    assert one.message == other.message
    assert one.curves.keys() == other.curves.keys()
    for outcome, its in ((one.last, other.last), (one.best_val, other.best_val)):
        assert (outcome is None) == (its is None)
        if outcome is not None and its is not None:
            assert outcome.epoch == its.epoch
            assert abs(outcome.test["accuracy"] - its.test["accuracy"]) <= one_example + 1e-12
    for name, norms in one.weight_norms.items():
        np.testing.assert_allclose(norms, other.weight_norms[name], rtol=1e-4)


def _relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp(min=1e-30))


def held_against(recipe: Recipe, runs: Sequence[Run], part: Callable[[nn.Module], torch.Tensor]) -> float:
    """Return the largest relative difference of a tensor, and of a part of the networks that might be lost in its tensor."""
    together = {record.key: model for model, record in train_networks(recipe, runs)}
    found = []
    for split, key in runs:
        its, own = together[key], train_model(recipe, split, key)[0]
        assert its is not None
        found += [largest_difference(its, own), _relative(part(its), part(own))]
    return max(found)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[Fleet]:
    """Return a list that every fleet is put into as it is made."""
    made: list[Fleet] = []

    class Watched(Fleet):
        def __init__(self, *args: Any, **rest: Any) -> None:
            super().__init__(*args, **rest)
            made.append(self)

    monkeypatch.setattr(fleet, "Fleet", Watched)
    return made
