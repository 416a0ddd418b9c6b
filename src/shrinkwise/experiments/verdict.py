"""The same verdict on runs that people already have, from any tool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.foreign import Columns, measurements_of, read_runs, test_rows_of
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.result import Result
from shrinkwise.experiments.stats import Measurement
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd

_LOSSES = frozenset(["loss", "logloss", "nll", "deviance", "perplexity", "ppl", "bpc"])
_LESS_IS_BETTER = _LOSSES | {"error", "err", "rmse", "mse", "mae", "wer", "cer"}
_RATES = frozenset(["accuracy", "acc", "f1", "auc", "auroc", "iou", "miou", "map", "precision", "recall", "top1", "top5"])
_POINTS = _RATES | {"r2"}
_MORE_IS_BETTER = _RATES | {"r2", "bleu", "rouge"}
_NOTHING = frozenset(["", "0", "none", "false", "no", "off", "base", "baseline", "control"])


def verdict(  # noqa: PLR0913  each argument names one column or one choice
    frame: pd.DataFrame | str | Path,
    *,
    vary: str | Sequence[str],
    seed: str = "seed",
    metric: str,
    within: str | Sequence[str] = (),
    maximize: bool | None = None,
    base: str | float | None = None,
    margin: float | None = None,
    n_train: str | None = None,
    n_test: str | None = None,
    examples: str | None = None,
    test_rows: str | None = None,
) -> Result:
    """Judge runs that were made elsewhere, with the statistics and the report of an experiment.

    Args:
        frame: A DataFrame with one row for each run, or the path of a CSV or JSON-lines file.
        vary: Column, or columns, that tell the variants apart, such as ``weight_decay``.
        seed: Column that pairs runs of different variants.
        metric: Column that is judged.
        within: Column, or columns, that tell conditions apart.
        maximize: Whether more is better; guessed for well-known names alone.
        base: Value of ``vary`` that the others are compared against; the one that is zero, empty or ``none`` if left out.
        margin: What counts as the same: points of accuracy and its kin (0.5), per cent of anything else (2).
        n_train: Column with the number of training rows. With ``n_test`` it says that each seed cut its own test rows out of one
            data set, and the interval is corrected for the overlap.
        n_test: Column with the number of test rows.
        examples: Column with the metric on each test row, the same rows in every run, as ``"0110..."`` or numbers with spaces
            between; the interval then knows of the finite test set.
        test_rows: Column that says which rows of one data set those test rows are, where each seed cut its own: whole numbers
            with spaces between.

    Raises:
        SettingError: The direction of the metric or the base has to be said.
        DataError: A column is absent, a value is no number, or runs are doubled or unpaired.

    >>> import pandas as pd
    >>> runs = pd.DataFrame({"wd": [0, 0.1] * 8, "seed": [i // 2 for i in range(16)], "eval_loss": [1.0, 0.5] * 8})
    >>> runs["eval_loss"] += runs["seed"] * 0.001 * (1 - runs["wd"])
    >>> verdict(runs, vary="wd", metric="eval_loss").answer.comparisons[0].finding.value
    'helps'
    """
    columns = Columns(_names(vary), seed, metric, _names(within), n_train, n_test, examples, test_rows)
    table = read_runs(frame) if isinstance(frame, str | Path) else frame
    if n_train and n_test and examples and not test_rows:
        raise SettingError(
            "examples and row counts are given without test_rows",
            "whether all runs share one test set, or each seed cut its own, is not known",
            "leave n_train and n_test out for one test set, or name the column that says which rows each seed was tested on",
        )
    measurements = measurements_of(table, columns)
    if maximize is None:
        maximize = guess_direction(metric)
    is_in_percent = _is_in_percent(metric, measurements)
    if is_in_percent:
        measurements = tuple(_as_shares(each, metric) for each in measurements)
    width = margin_of("accuracy" if _POINTS.intersection(_words(metric)) else "loss", margin)
    sizes = measurements[0]
    study = Study(
        data=str(frame) if isinstance(frame, str | Path) else "a table of runs",
        task="runs made elsewhere",
        classes=(),
        n_train=sizes.n_train,
        n_val=0,
        n_test=sizes.n_test,
        is_resampled=bool(test_rows or (n_train and n_test and not examples)),
        unit=None,
        decay=None,
        epochs=None,
        primary_metric=metric,
        select="last",
        margin=width.value,
        is_margin_relative=width.is_relative,
        settings={
            "vary": ", ".join(columns.vary),
            "paired by": seed,
            "direction": "more is better" if maximize else "less is better",
            **({"read as": f"{metric} in per cent, told as shares"} if is_in_percent else {}),
        },
    )
    return Result(
        study=study,
        measurements=measurements,
        base=_base(measurements, columns, base),
        maximize=maximize,
        test_rows=test_rows_of(table, columns),
    )


def guess_direction(metric: str) -> bool:
    """Return whether more of a well-known metric is better.

    Raises:
        SettingError: The name is not well known.

    >>> guess_direction("eval_loss"), guess_direction("val/Accuracy")
    (False, True)
    """
    words = _words(metric)
    less, more = bool(_LESS_IS_BETTER.intersection(words)), bool(_MORE_IS_BETTER.intersection(words))
    if less == more:
        raise SettingError(
            f"whether more {metric!r} is better is not known",
            "the name does not tell",
            "say --minimize or --maximize (maximize=False or True)",
        )
    return more


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)


def _words(metric: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", metric.lower())


def _is_in_percent(metric: str, measurements: Sequence[Measurement]) -> bool:
    """Whether a rate is written in per cent: most of its values lie above 1, and none above 100."""
    if not _RATES.intersection(_words(metric)):
        return False
    values = [each.metrics[metric] for each in measurements if metric in each.metrics]
    return 2 * sum(value > 1 for value in values) > len(values) and all(0 <= value <= 100 for value in values)


def _as_shares(measurement: Measurement, metric: str) -> Measurement:
    """Write a rate that came in per cent as a share; its outcomes on test rows are shares already where they are 0 and 1."""
    if metric not in measurement.metrics:
        return measurement
    return replace(measurement, metrics={metric: measurement.metrics[metric] / 100})


def _base(measurements: Sequence[Measurement], columns: Columns, given: str | float | None) -> Variant:
    """Return the variant that the others are compared against.

    Raises:
        SettingError: None stands out as the base, or the one that was named is absent.
    """
    variants = list(dict.fromkeys(each.variant for each in measurements))
    if len(variants) < 2:
        raise SettingError(
            f"{', '.join(columns.vary)} has one value", "a comparison takes at least two", "give runs of another variant"
        )
    if given is None:
        found = [variant for variant in variants if all(str(value).lower() in _NOTHING for value in variant.values())]
        cause, mend = "none of them is zero, none or empty", "name it with --base"
    else:
        found = [variant for variant in variants if _is_named(variant, given)]
        cause, mend = f"none of them is {given!r}", did_you_mean(str(given), [_label(variant) for variant in variants])
    if not found:
        raise SettingError(f"which of {', '.join(map(_label, variants))} is the base is not known", cause, mend)
    return found[0]


def _is_named(variant: Variant, name: str | float) -> bool:
    try:
        return [float(value) for value in variant.values()] == [float(name)]
    except ValueError:
        return str(name) in (_label(variant), variant.name)


def _label(variant: Variant) -> str:
    return ",".join(str(value) for value in variant.values())
