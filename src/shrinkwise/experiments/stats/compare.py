"""Variants against the base, paired by seed: differences, intervals, p values and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shrinkwise.experiments.records import Condition, Variant
from shrinkwise.experiments.stats.answer import Comparison, Finding, clipped
from shrinkwise.experiments.stats.finding import judge, seeds_needed
from shrinkwise.experiments.stats.flips import floor_of_seeds, holm, sign_flip_p
from shrinkwise.experiments.stats.pairing import Cell, Grid
from shrinkwise.experiments.stats.question import Pair, Question
from shrinkwise.experiments.stats.skewed import Uncertainty

_FLIPS = 1


@dataclass(frozen=True, eq=False)
class _Draft:
    """The pairs of one comparison and their mean difference, before the family is known."""

    variant: Variant
    pairs: Sequence[Pair]
    differences: np.ndarray
    mean: Uncertainty

    def p(self) -> float:
        """Return the larger of two p values, since each alone can be too small.

        Sign flips know nothing of test rows and splits that the seeds share; the interval's p leans on a model.
        """
        # A generator of its own for each comparison: no p depends on which other comparisons were made before it.
        return max(sign_flip_p(self.differences, np.random.default_rng(_FLIPS)), self.mean.p())


def compare(question: Question, ours: Grid, bases: Mapping[Condition, Cell], metrics: Sequence[str]) -> tuple[Comparison, ...]:
    """Compare every variant with the base on every metric, within every condition.

    Args:
        question: What is asked.
        ours: The runs of the variants; those of the base are passed over.
        bases: Condition -> the runs of the base, which may come from another grid.
        metrics: Names of the metrics; one whose good direction is unknown is passed over.

    Returns:
        Comparisons metric by metric, condition by condition; none where not a single pair of runs is done.
    """
    return tuple(
        comparison
        for metric in metrics
        if metric in question.is_higher_better
        for condition in ours.conditions
        for comparison in _family(question, ours, bases[condition], metric)
    )


def _family(question: Question, ours: Grid, base: Cell, metric: str) -> list[Comparison]:
    """Compare within one condition on one metric; on the primary metric this is the family that Holm adjusts for."""
    cells = [ours.cells[variant, base.condition] for variant in ours.variants if variant != base.variant]
    drafts = [draft for cell in cells if (draft := _draft(question, cell, base, metric)) is not None]
    ps: list[float | None] = [None] * len(drafts)
    adjusted = list(ps)
    if metric == question.study.primary_metric:
        floor = floor_of_seeds(len(drafts))
        ps = [draft.p() if draft.mean.n >= floor else None for draft in drafts]
        # A comparison with too few pairs still belongs to the family, as one that shows nothing.
        by_holm = holm([1.0 if p is None else p for p in ps])
        adjusted = [None if p is None else value for p, value in zip(ps, by_holm, strict=True)]
    return [
        _finish(question, draft, base, metric, (p, p_adjusted), len(drafts))
        for draft, p, p_adjusted in zip(drafts, ps, adjusted, strict=True)
    ]


def _draft(question: Question, cell: Cell, base: Cell, metric: str) -> _Draft | None:
    against = base.having(metric)
    pairs = [(run, against[seed]) for seed, run in cell.having(metric).items() if seed in against]
    if not pairs:
        return None
    differences = np.array([run.metrics[metric] - other.metrics[metric] for run, other in pairs])
    return _Draft(cell.variant, pairs, differences, question.mean_difference(pairs, metric))


def _finish(
    question: Question, draft: _Draft, base: Cell, metric: str, ps: tuple[float | None, float | None], n_family: int
) -> Comparison:
    p, p_adjusted = ps
    is_primary = metric == question.study.primary_metric
    is_higher_better = question.is_higher_better[metric]
    interval = clipped(draft.mean.interval(), metric, is_difference=True)
    margin = question.margin(metric, float(np.mean([other.metrics[metric] for _, other in draft.pairs])))
    finding = judge(interval, margin, is_higher_better=is_higher_better, p_adjusted=p_adjusted)
    needed = None
    if is_primary and finding is Finding.INCONCLUSIVE and draft.mean.n > 1:
        needed = seeds_needed(draft.mean, margin, n_family)
    won = draft.differences if is_higher_better else -draft.differences
    return Comparison(
        variant=draft.variant,
        against=base.variant,
        condition=base.condition,
        metric=metric,
        difference=interval,
        differences=tuple(draft.differences.tolist()),
        seeds=tuple(run.seed for run, _ in draft.pairs),
        share_won=float(np.mean(won > 0) + np.mean(won == 0) / 2),
        p=p,
        p_adjusted=p_adjusted,
        finding=finding,
        seeds_needed=needed,
    )
