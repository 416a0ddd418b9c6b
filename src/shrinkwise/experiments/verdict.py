"""The same verdict on runs that people already have, from any tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.foreign import as_table, measurements_of, of_our_own, read_runs, row_numbers_by_seed
from shrinkwise.experiments.foreign_row import Columns
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.result import Result
from shrinkwise.experiments.stats import Measurement
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.stats.metric import guess_direction, is_in_percent
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd

_NOTHING = frozenset(["", "0", "none", "false", "no", "off", "base", "baseline", "control"])


def verdict(  # noqa: PLR0913  each argument names one column or one choice
    frame: pd.DataFrame | Sequence[Mapping[str, Any]] | str | Path,
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
        frame: A DataFrame, or a list of mappings, with one row for each run; or the path of a CSV or JSON-lines file. A table that
            ``compare`` wrote is known by its columns: which test rows each run had is read off it.
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
    table = read_runs(frame) if isinstance(frame, str | Path) else as_table(frame)
    columns = Columns(_names(vary, table), seed, metric, _names(within, table), n_train, n_test, examples, test_rows)
    columns = of_our_own(table, columns)
    _check_sizes(columns)
    measurements = measurements_of(table, columns)
    if maximize is None:
        maximize = guess_direction(metric)
    is_percent = is_in_percent(metric, [each.metrics[metric] for each in measurements if metric in each.metrics])
    if is_percent:
        measurements = tuple(_as_shares(each, metric) for each in measurements)
    width = margin_of(metric, margin)
    sizes = measurements[0]
    study = Study(
        data=str(frame) if isinstance(frame, str | Path) else "a table of runs",
        task="runs made elsewhere",
        classes=(),
        n_train=sizes.n_train,
        n_val=0,
        n_test=sizes.n_test,
        is_resampled=bool(columns.test_rows or (columns.n_train and columns.n_test and not columns.examples)),
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
            **({"read as": f"{metric} in per cent, told as shares"} if is_percent else {}),
        },
    )
    return Result(
        study=study,
        measurements=measurements,
        base=_base(measurements, columns, base),
        maximize=maximize,
        test_rows=row_numbers_by_seed(table, columns),
    )


def _names(names: str | Sequence[str], table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that are named: one whose own name holds a comma, or several with commas between."""
    if isinstance(names, str):
        return (names,) if names in table.columns else tuple(name.strip() for name in names.split(","))
    return tuple(names)


def _check_sizes(columns: Columns) -> None:
    if bool(columns.n_train) != bool(columns.n_test):
        raise SettingError(
            f"{'n_train' if columns.n_train else 'n_test'} is given alone",
            "the correction for splits that overlap needs both row counts",
            "name the columns of both, n_train and n_test",
        )
    if columns.n_train and columns.examples and not columns.test_rows:
        raise SettingError(
            "examples and row counts are given without test_rows",
            "whether all runs share one test set, or each seed cut its own, is not known",
            "leave n_train and n_test out for one test set, or name the column that says which rows each seed was tested on",
        )


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
