"""Measurements and studies for the tests of the statistics, from plain numbers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from shrinkwise.experiments.records import Condition, Status, Variant
from shrinkwise.experiments.stats import Measurement
from shrinkwise.experiments.study import Study

BASE = Variant(l2=0.0)
CLEAN = Condition()
NOISY = Condition(label_noise=0.2)

STUDY = Study(
    data="made up",
    task="classification",
    classes=("0", "1"),
    n_train=600,
    n_val=200,
    n_test=200,
    is_resampled=False,
    unit="half",
    decay="coupled",
    epochs=30,
    primary_metric="accuracy",
    select="last",
    margin=0.005,
    is_margin_relative=False,
    settings={"optimizer": "sgd", "lr": 0.05, "batch_size": 32},
)


def study(**changes):
    return dataclasses.replace(STUDY, **changes)


def l2(lam):
    return Variant(l2=lam)


def runs(values, *, condition=CLEAN, metric="accuracy", collapsed=()):
    """Make measurements of variant -> one value a seed; NaN makes a run that diverged."""
    return [
        Measurement(
            variant=variant,
            condition=condition,
            seed=seed,
            status=Status.DIVERGED if math.isnan(value) else Status.DONE,
            collapsed=variant in collapsed,
            metrics={} if math.isnan(value) else {metric: value},
            examples={},
            n_train=0,
            n_test=0,
            weight_norm=math.nan,
        )
        for variant, column in values.items()
        for seed, value in enumerate(column)
    ]


def around(centre, n=10, spread=0.002):
    """Give n values around ``centre``, symmetric and never equal, the same ones each time."""
    return list(centre + spread * np.sin(np.arange(n) * 2.4))
