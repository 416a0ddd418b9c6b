"""Training functions of no training: what they come to is known, so that what surrounds them can be tested."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch

from shrinkwise.experiments.functions.trial import Trial

BEST = 0.01
"""Where the valley of the losses lies."""


def valley(trial: Trial) -> dict[str, float]:
    """A loss that is least at λ = 0.01, the same for every seed up to a constant and a little noise of each run."""
    place = math.log10(float(trial["l2"]) + 1e-7) - math.log10(BEST)
    of_seed = np.random.default_rng(trial.seed).normal()
    of_run = np.random.default_rng([trial.seed, round(1e9 * float(trial["l2"]))]).normal()
    loss = 1 + 0.05 * place**2 + 0.05 * of_seed + 0.005 * of_run
    return {"val_loss": loss, "test_loss": loss + 0.01 * of_seed}


def flat(trial: Trial) -> float:
    """A loss on which λ has no effect; noise is all there is."""
    return 1 + 0.01 * np.random.default_rng([trial.seed, round(1e9 * float(trial["l2"]))]).normal()


def careless(trial: Trial) -> dict[str, Any]:
    """Draws from every global generator instead of from the seed."""
    drawn = random.random() + float(np.random.random()) + float(torch.rand(()))  # noqa: NPY002
    return {"loss": drawn + float(trial["l2"]), "threads": torch.get_num_threads()}


def by_rows(trial: Trial) -> dict[str, Any]:
    """Right and wrong on forty test rows: a stronger penalty gets more of them right."""
    right = np.random.default_rng(trial.seed).random(40) < (0.9 if trial["l2"] else 0.6)
    return {"val_accuracy": float(np.mean(right)), "test_accuracy": right}


RETURNED_WRONGLY: list[tuple[Any, str]] = [
    (None, r"gives nothing \(None\)"),
    ("0.3", "gives str '0.3'"),
    ([0.3], "gives list"),
    (True, "gives bool True"),
    ({}, "a mapping without a metric"),
    ({"train_loss": 0.3}, "a mapping without a metric"),
    ({"loss": "low"}, "gives loss = 'low'.*: that is a str"),
    ({"loss": None}, "gives loss = None"),
    ({"loss": np.zeros((2, 2))}, "gives loss = array"),
    ({1: 0.3}, "a metric called 1"),
]
"""What is no number -> what the message says."""
