"""From a record to the measurement of its run: the judged weights, and the judged metrics row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from shrinkwise.experiments.records import Outcome, Record, Status
from shrinkwise.experiments.stats.answer import Measurement


def measure(record: Record, select: str) -> Measurement:
    """Reduce a record to what the statistics need of it, all of it at the judged epoch: metrics, weight norm and collapse.

    Args:
        record: What a run left.
        select: ``last`` or ``best-val``: which epoch's weights are judged.
    """
    outcome = record.outcome(select) if record.status is Status.DONE else None
    judged = record if outcome is None else _until(record, outcome.epoch)
    return Measurement(
        variant=record.key.variant,
        condition=record.key.condition,
        seed=record.key.seed,
        status=record.status,
        collapsed=judged.collapsed,
        metrics={} if outcome is None else outcome.test,
        examples={} if outcome is None else by_row(outcome),
        n_train=record.n_train,
        n_test=record.n_test,
        weight_norm=math.nan if outcome is None else judged.weight_norm(),
    )


def by_row(outcome: Outcome) -> Mapping[str, np.ndarray]:
    """Return each metric on each test row, shape ``(n_test,)``, with a form by rows of what is no mean over rows but nearly one.

    With ``l`` the squared errors, in whatever unit, rmse and r2 are linear in their mean to first order (the delta method), and
    what row i adds to it is

    - ``rmse/2 · (1 + l_i / mean(l))`` for rmse, a constant times the root of ``mean(l)``;
    - ``1 − (1 − r2) · l_i / mean(l)`` for r2, which is 1 − ``mean(l)`` over the variance of the targets. That variance is taken as
      given; what this leaves out of the spread of a difference is in proportion to the difference, and nothing where there is none.

    The means over rows are rmse and r2. What is neither (f1, auc) has no form by rows.

    >>> rows = by_row(Outcome(1, {}, {"rmse": 2.0, "r2": 0.5}, {"loss": np.array([1.0, 3.0])}))
    >>> rows["rmse"].tolist(), rows["r2"].tolist()
    ([1.5, 2.5], [0.75, 0.25])
    """
    rows = dict(outcome.examples)
    if "loss" in rows:
        losses = np.asarray(rows["loss"], dtype=float)
        mean = float(losses.mean())
        share = losses / mean if mean > 0 else np.zeros_like(losses)
        if "rmse" in outcome.test:
            rows.setdefault("rmse", outcome.test["rmse"] / 2 * (1 + share))
        if "r2" in outcome.test:
            rows.setdefault("r2", 1 - (1 - outcome.test["r2"]) * share)
    return rows


def _until(record: Record, epoch: int) -> Record:
    """Return a record as it stood after an epoch; norms have one entry more, that of the start."""
    return replace(
        record,
        curves={name: curve[:epoch] for name, curve in record.curves.items()},
        weight_norms={name: norms[: epoch + 1] for name, norms in record.weight_norms.items()},
    )
