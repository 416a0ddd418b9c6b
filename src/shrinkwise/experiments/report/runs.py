"""Every run as one row of a table that other tools, and ``sw.verdict``, can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shrinkwise.experiments.records import Outcome, Record, Status
from shrinkwise.experiments.stats.measuring import measure
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd


def runs_frame(records: Sequence[Record], study: Study) -> pd.DataFrame:
    """Return one row for each run.

    Columns: the variant's settings; ``train_size`` and ``label_noise``; ``seed``, ``status``, ``collapsed``, ``lam`` (the strength
    as in mean loss + (lam/2)·Σw²); ``n_train``, ``n_val``, ``n_test``; every metric on the test rows at the judged epoch, and as
    ``last_*`` and ``best_val_*`` at the last epoch and at that of best validation loss; ``weight_norm``, at the judged epoch as
    ``collapsed`` is; ``seconds``, ``message``; the primary metric row by row as ``*_rows`` where it has such a form, and
    ``test_rows`` where each seed has its own. A setting whose name is taken by another column is called ``setting_NAME``.

    Args:
        records: What the runs left.
        study: What was asked.
    """
    import pandas as pd

    rows = [_row(record, study) for record in records]
    taken = {name for row in rows for name in row}
    settings = [
        {f"setting_{name}" if name in taken else name: value for name, value in record.key.variant.items()} for record in records
    ]
    return pd.DataFrame([ours | row for ours, row in zip(settings, rows, strict=True)])


def _row(record: Record, study: Study) -> dict[str, Any]:
    """Return all columns of a run but those of its settings."""
    measured = measure(record, study.select)
    row: dict[str, Any] = {
        "train_size": record.key.condition.train_size,
        "label_noise": record.key.condition.label_noise,
        "seed": record.key.seed,
        "status": record.status.value,
        "collapsed": measured.collapsed,
        "lam": record.lam,
        "n_train": record.n_train,
        "n_val": record.n_val,
        "n_test": record.n_test,
        **measured.metrics,
    }
    if record.last is not None and record.best_val is not None:
        row |= _prefixed("last", record.last) | _prefixed("best_val", record.best_val)
    row |= {"weight_norm": measured.weight_norm, "seconds": record.seconds, "message": record.message}
    if study.primary_metric in measured.examples:
        row[f"{study.primary_metric}_rows"] = _written(measured.examples[study.primary_metric])
    if record.status is Status.DONE and study.is_resampled:
        row["test_rows"] = " ".join(map(str, record.test_rows))
    return row


def _prefixed(prefix: str, outcome: Outcome) -> dict[str, float]:
    return {f"{prefix}_epoch": outcome.epoch, **{f"{prefix}_{name}": value for name, value in outcome.test.items()}}


def _written(values: np.ndarray) -> str:
    """Write right and wrong as ``0110``, and numbers to the last bit with spaces between."""
    if values.dtype == np.bool_:
        return "".join("1" if value else "0" for value in values)
    return " ".join(repr(float(value)) for value in values)
