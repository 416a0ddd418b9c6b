"""Every run as one row of a table that other tools, and ``sw.verdict``, can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.experiments.records import Outcome, Record
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd


def runs_frame(records: Sequence[Record], study: Study) -> pd.DataFrame:
    """Return one row for each run.

    Columns: the variant's settings; ``train_size`` and ``label_noise``; ``seed``, ``status``, ``collapsed``, ``lam`` (the strength
    as in mean loss + (lam/2)·Σw²); ``n_train``, ``n_val``, ``n_test``; every metric on the test rows at the judged epoch, and as
    ``last_*`` and ``best_val_*`` at the last epoch and at that of best validation loss; ``weight_norm``, ``seconds``, ``message``;
    the primary metric row by row as ``*_rows`` where it is a mean over rows, and ``test_rows`` where each seed has its own.

    Args:
        records: What the runs left.
        study: What was asked.
    """
    import pandas as pd

    return pd.DataFrame([_row(record, study) for record in records])


def _row(record: Record, study: Study) -> dict[str, Any]:
    row: dict[str, Any] = {
        **record.key.variant,
        "train_size": record.key.condition.train_size,
        "label_noise": record.key.condition.label_noise,
        "seed": record.key.seed,
        "status": record.status.value,
        "collapsed": record.collapsed,
        "lam": record.lam,
        "n_train": record.n_train,
        "n_val": record.n_val,
        "n_test": record.n_test,
    }
    if record.last is not None and record.best_val is not None:
        row |= record.outcome(study.select).test
        row |= _prefixed("last", record.last) | _prefixed("best_val", record.best_val)
    row |= {"weight_norm": record.weight_norm(), "seconds": record.seconds, "message": record.message}
    if record.last is not None:
        values = record.outcome(study.select).examples.get(study.primary_metric)
        if values is not None:
            row[f"{study.primary_metric}_rows"] = _written(values)
        if study.is_resampled:
            row["test_rows"] = " ".join(map(str, record.test_rows))
    return row


def _prefixed(prefix: str, outcome: Outcome) -> dict[str, float]:
    return {f"{prefix}_epoch": outcome.epoch, **{f"{prefix}_{name}": value for name, value in outcome.test.items()}}


def _written(values: np.ndarray) -> str:
    """Write right and wrong as ``0110``, and numbers to the last bit with spaces between."""
    if values.dtype == np.bool_:
        return "".join("1" if value else "0" for value in values)
    return " ".join(repr(float(value)) for value in values)
