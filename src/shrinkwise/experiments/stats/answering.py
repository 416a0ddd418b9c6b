"""From measurements to the answer: the one door of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shrinkwise.errors import DataError, did_you_mean
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.stats import notes
from shrinkwise.experiments.stats.answer import Answer, Comparison, Measurement
from shrinkwise.experiments.stats.compare import compare
from shrinkwise.experiments.stats.pairing import Grid, Seed, grid
from shrinkwise.experiments.stats.question import Question
from shrinkwise.experiments.stats.sentence import sentence
from shrinkwise.experiments.stats.stopping import early_stopping
from shrinkwise.experiments.stats.table import table
from shrinkwise.experiments.study import Study


def answer(
    measurements: Sequence[Measurement],
    study: Study,
    *,
    base: Variant | None = None,
    best_val: Sequence[Measurement] | None = None,
    maximize: bool | None = None,
    test_rows: Mapping[Seed, np.ndarray] | None = None,
) -> Answer:
    """Compare every variant with the base, and say what it comes to.

    Args:
        measurements: One a run, in any order, of the weights after the last epoch; or of whatever weights there are.
        study: What was asked: the primary metric, the margin, whether seeds share their test rows, and the rest.
        base: What the others are compared against; None for the variant with nothing switched on.
        best_val: The same runs at the epoch of best validation loss; judged in place of ``measurements`` where ``study.select``
            says so, and else what early stopping is read off.
        maximize: Whether more of the primary metric is better; None where the metric is one of ours.
        test_rows: Seed -> which rows of the data set its test set holds, shape ``(n_test,)``, in the order of the examples. Of use
            where every seed cuts its own test set out of one data set; without it the overlap of the splits is allowed for by
            their sizes alone, which makes wider intervals.

    Returns:
        The answer. Seeds are sorted; the order of the measurements decides nothing but that of variants and conditions.

    Raises:
        DataError: A seed is missing or doubled, a metric is missing, the base is not among the variants, or the direction of the
            primary metric is not known.
    """
    question = Question.of(study, maximize, test_rows)
    last = grid(measurements, study.primary_metric)
    stopped = None if best_val is None else grid(best_val, study.primary_metric)
    judged = stopped if study.select == "best-val" and stopped is not None else last
    base = _base(judged.variants, base)
    primary = (study.primary_metric,)
    comparisons = _against(question, judged, judged, base, judged.metrics)
    early = () if stopped is None else _against(question, stopped, stopped, base, primary)
    over = () if stopped is None else _against(question, last, stopped, base, primary)
    rows = table(question, judged)
    main = [comparison for comparison in comparisons if comparison.metric == study.primary_metric]
    said = [
        *notes.scope(study, judged.variants),
        *([] if judged is stopped else early_stopping(main, early, over, judged.conditions)),
        *notes.losses(rows, judged.conditions, base),
        *notes.collapses(rows, judged.conditions),
        *notes.floor(main, judged.conditions),
        *notes.undecided(main, judged.conditions),
        *notes.method(main),
    ]
    return Answer(
        base=base,
        variants=judged.variants,
        conditions=judged.conditions,
        rows=rows,
        comparisons=comparisons,
        early_stopped=early,
        over_stopped_base=over,
        sentence=sentence(main, rows, base),
        notes=tuple(note[0].upper() + note[1:] for note in said),
    )


def _against(question: Question, ours: Grid, theirs: Grid, base: Variant, metrics: Sequence[str]) -> tuple[Comparison, ...]:
    return compare(question, ours, {condition: theirs.cells[base, condition] for condition in ours.conditions}, metrics)


def _base(variants: Sequence[Variant], base: Variant | None) -> Variant:
    """Return the base, which must be one of at least two variants."""
    plain = next((variant for variant in variants if variant.is_base), None)
    chosen = plain if base is None else base
    names = [variant.name for variant in variants]
    if chosen is None:
        raise DataError(
            f"none of the variants has every setting at zero ({', '.join(names)})",
            "it is not clear which of them is the base",
            "say which variant the others are compared against",
        )
    if chosen not in variants:
        raise DataError(
            f"the base {chosen.name!r} has no runs", "nothing can be compared against it", did_you_mean(chosen.name, names)
        )
    if len(variants) == 1:
        raise DataError("there is one variant only", "a verdict needs something to compare", "give the runs of another variant")
    return chosen
