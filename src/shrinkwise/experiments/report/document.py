"""The answer as one JSON document, in the fields that others may rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shrinkwise.experiments.records import Condition, Setting
from shrinkwise.experiments.stats.answer import Answer, Comparison, Row, Spread
from shrinkwise.experiments.study import Study


def to_document(answer: Answer, study: Study, seconds: float | None = None) -> dict[str, Any]:
    """Return the answer as nested dictionaries, lists and plain scalars, ready for ``json.dumps(..., allow_nan=False)``.

    Metrics, differences and the margin stay in their own unit (an accuracy of 0.97 is 0.97, not 97); what is not a finite number
    becomes None. A condition has a ``label`` beside its size and noise: what tells apart conditions of runs that were made
    elsewhere, else empty.

    Args:
        answer: What the statistics say.
        study: What was asked.
        seconds: Sum over all runs of each run's wall time in seconds, which is more than passed on the clock where several ran at
            once; None where it is unknown.

    Returns:
        The fields ``experiment``, ``table``, ``comparisons`` and ``verdict``; beside them ``notes``, and ``early_stopping`` with
        the comparisons in which runs keep their epoch of best validation loss.
    """
    return {
        "experiment": {
            **study_document(study),
            "seeds": n_seeds(answer),
            "runs": sum(sum(row.status.values()) for row in answer.rows),
            "seconds": number(seconds),
        },
        "table": [_row(row) for row in answer.rows],
        "comparisons": [_comparison(each) for each in answer.comparisons],
        "verdict": answer.sentence,
        "notes": list(answer.notes),
        "early_stopping": {
            "both_stopped": [_comparison(each) for each in answer.early_stopped],
            "base_stopped": [_comparison(each) for each in answer.over_stopped_base],
        },
    }


def study_document(study: Study) -> dict[str, Any]:
    """Return what was asked, as JSON values."""
    return {
        "data": study.data,
        "task": study.task,
        "classes": list(study.classes),
        "n_train": study.n_train,
        "n_val": study.n_val,
        "n_test": study.n_test,
        "unit": study.unit,
        "decay": study.decay,
        "epochs": study.epochs,
        "primary_metric": study.primary_metric,
        "select": study.select,
        "margin": number(study.margin),
        "is_margin_relative": study.is_margin_relative,
        "settings": {name: _plain(value) for name, value in study.settings.items()},
        "command": study.command,
        "version": study.version,
    }


def n_seeds(answer: Answer) -> int:
    """Return the number of seeds of the largest row, runs that did not end well among them."""
    return max((sum(row.status.values()) for row in answer.rows), default=0)


def number(value: float | None) -> float | None:
    """Return a finite number as a plain float, anything else as None: JSON knows no NaN.

    >>> number(float("nan")), number(0.5)
    (None, 0.5)
    """
    return float(value) if value is not None and math.isfinite(value) else None


def _row(row: Row) -> dict[str, Any]:
    status = dict.fromkeys(("done", "diverged", "failed"), 0) | {status.value: int(n) for status, n in row.status.items()}
    return {
        "variant": row.variant.name,
        "condition": _condition(row.condition),
        "settings": {name: _setting(value) for name, value in {**row.variant, **row.chosen}.items()},
        "n": row.n,
        "status": status,
        "collapsed": row.collapsed,
        "metrics": {name: _spread(spread) for name, spread in row.metrics.items()},
        "weight_norm": number(row.weight_norm),
    }


def _spread(spread: Spread) -> dict[str, float | None]:
    estimate = spread.estimate
    return {
        "point": number(estimate.point),
        "low": number(estimate.low),
        "high": number(estimate.high),
        "std": number(spread.std),
        "level": number(estimate.level),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    return {
        "variant": comparison.variant.name,
        "against": comparison.against.name,
        "condition": _condition(comparison.condition),
        "metric": comparison.metric,
        "difference": {
            "point": number(difference.point),
            "low": number(difference.low),
            "high": number(difference.high),
            "level": number(difference.level),
            "n": difference.n,
            "method": difference.method,
        },
        "p": number(comparison.p),
        "p_adjusted": number(comparison.p_adjusted),
        "verdict": comparison.finding.value,
        "share_won": number(comparison.share_won),
        "seeds_needed": comparison.seeds_needed,
        "by_seed": [
            {"seed": _plain(seed), "difference": number(value)}
            for seed, value in zip(comparison.seeds, comparison.differences, strict=True)
        ],
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {"train_size": condition.train_size, "label_noise": number(condition.label_noise), "label": condition.label}


def _setting(value: Setting) -> Setting | None:
    return number(value) if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    """Return what JSON can hold: scalars as they are, NumPy's as Python's, sequences and mappings likewise, the rest in words."""
    if hasattr(value, "item") and callable(value.item) and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return number(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
