"""Any network trained in a fleet and alone, on rows that a seed draws, and both held against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fleet_nets import N_CLASSES, N_FEATURES
from fleets import train_networks
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_model
from shrinkwise.experiments.engine.fleet.modules.structure import trained_names
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.seeding import numpy_generator

BATCH = 16
EPOCHS = 17
"""Of 48 rows in batches of 16: 51 steps."""
BASE = Variant(l2=0.01)
OPTIMIZERS = {"sgd": NamedOptimizer("sgd", 0.05), "adamw": NamedOptimizer("adamw", 0.01, decay="decoupled")}


def rows(seed: int, dtype: type = np.float32, n_train: int = 48) -> Split:
    """Draw rows of a seed whose class a plane decides, but for some noise."""
    drawn = numpy_generator("rows", seed)
    x = drawn.standard_normal((n_train + 24, N_FEATURES)).astype(dtype)
    y = (x[:, :N_CLASSES] + 0.5 * drawn.standard_normal((len(x), N_CLASSES))).argmax(1)
    (a, b, c), places = (np.split(np.arange(len(x)), [n_train, n_train + 12]), np.arange(len(x)))
    return Split(x[a], y[a], x[b], y[b], x[c], y[c], places[a], places[b], places[c])


def recipe(make: Callable[..., nn.Module], optimizer: str = "sgd", double: bool = False, **changes: Any) -> Recipe:
    """Return a recipe for nets that are made from nothing or from a variant."""

    def model(variant):
        net = make(float(variant.get("dropout", 0.0))) if "dropout" in variant else make()
        return net.double() if double else net

    settings = {"model": model, "task": "classification", "n_outputs": N_CLASSES, "optimizer": OPTIMIZERS[optimizer]}
    return Recipe(**settings | {"epochs": EPOCHS, "batch_size": BATCH} | changes)


def together(plan: Recipe, runs: list[tuple[Split, RunKey]]) -> None:
    """Train runs as a fleet and alone, and compare every tensor and curve."""
    is_double = runs[0][0].x_train.dtype == np.float64
    trained = trained_names(plan, prepare(plan, *runs[-1]))
    assert isinstance(trained, tuple), trained
    singles = {key: train_model(plan, split, key) for split, key in runs}
    seen = 0
    for network, record in train_networks(plan, runs):
        alone, its = singles[record.key]
        assert record.status is its.status
        assert record.n_steps == its.n_steps
        assert network is not None
        apart = {name: apartness(tensor, alone.state_dict()[name]) for name, tensor in network.state_dict().items()}
        assert max(apart.values()) < (1e-10 if is_double else 1e-5), apart
        for name, curve in its.curves.items():
            assert record.curves[name] == pytest.approx(curve, abs=1e-12 if is_double else 0.09 if name == "val_accuracy" else 1e-3)
        seen += 1
    assert seen == len(runs)


def apartness(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.double(), other.double()
    return float((one - other).norm()) / max(float(other.norm()), 1e-12)


def pairs(split: Callable[[int], Split], variants: list[Variant], seeds: list[int]) -> list[tuple[Split, RunKey]]:
    splits = {seed: split(seed) for seed in seeds}
    return [(splits[seed], RunKey(variant, Condition(), seed)) for seed in seeds for variant in variants]


def in_double(seed: int) -> Split:
    return rows(seed, np.float64)
