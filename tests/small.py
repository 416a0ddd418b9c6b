"""A small experiment that trains in a moment, for tests of what surrounds training."""

from __future__ import annotations

from typing import Any

from shrinkwise.experiments.data import digits
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.models import MLPFactory


def small_experiment(**changes: Any) -> Experiment:
    """Four variants, two conditions, two seeds, three epochs of digits 0-1: sixteen runs in about a second, the same to the bit."""
    settings: dict[str, Any] = {
        "model": MLPFactory(64, (8,), 2),
        "data": digits("0-1"),
        "variants": grid(l2=[0, 0.1], dropout=[0, 0.5]),
        "conditions": grid(label_noise=[0, 0.2]),
        "optimizer": NamedOptimizer("sgd", lr=0.05),
        "epochs": 3,
        "seeds": 2,
        "engine": "single",
    }
    return Experiment(**settings | changes)


def fingerprints(records: Any) -> dict[Any, str]:
    """Return the fingerprint of each record by the name of its run."""
    return {record.key: record.fingerprint() for record in records}
