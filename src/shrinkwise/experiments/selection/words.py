"""Why a λ was chosen, in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shrinkwise.experiments.records import Status, Variant, short
from shrinkwise.experiments.selection.belief import Belief
from shrinkwise.experiments.selection.choice import Seen
from shrinkwise.experiments.selection.curve import WORST
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.space import Space
from shrinkwise.experiments.selection.stopping import Stop
from shrinkwise.experiments.stats.metric import metric_of


class Gain(NamedTuple):
    """How much less the loss is than at the default, on the additive scale: its mean, and the ends of its 90 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Grounds:
    """What a choice rests on.

    Attributes:
        chosen: The setting that is chosen.
        gain: What the best one gains over the default.
        stop: Why looking ended early, if it did.
        rule: ``minimum`` or ``one-se``.
        objective: What was minimised.
        keeps: Whether the default is kept.
        is_taken: Whether the rule itself takes the chosen one. ``is_least``: whether it has the least expected loss.
    """

    chosen: int
    gain: Gain
    stop: Stop | None
    rule: str
    objective: Objective
    keeps: bool
    is_taken: bool
    is_least: bool


def reason(belief: Belief, grounds: Grounds) -> str:
    """Say in a sentence or two why a setting is chosen."""
    metric, is_higher = grounds.objective.metric, grounds.objective.is_higher_better
    least = f"the {'highest' if is_higher else 'least'} expected validation {metric}"
    gain, default = grounds.gain, _named(belief, belief.index(belief.space.default_variant))
    mean, low, high = (_amount(belief, value, metric) for value in gain)
    between = f"90 % interval {low} to {high}"
    if gain.low > 0 and (belief.space.default_variant in belief.cut or gain.high >= WORST):
        mean, between = f"at least {low}", "losses so far above the best are not told apart"
    within = f"is the strongest within one standard error of {least}"
    if grounds.keeps:
        if grounds.is_least:
            return f"keep {default}: it has {least} of all that were looked at"
        if grounds.is_taken:
            return f"keep {default}: it {within}; what could still be gained over it is {mean} ({between})"
        what = "no difference beyond noise" if gain.low <= 0 else "no difference that counts"
        return f"{what}: keep {default}; what could still be gained over it is {mean} ({between})"
    what = f"has {least}" if grounds.rule == "minimum" else within
    said = f"{_named(belief, grounds.chosen)} {what}, {mean} {'above' if is_higher else 'under'} that at {default} ({between})"
    if gain.low <= 0:
        said += "; the gain is not beyond noise"
    return said + (f"; the search ended early: {grounds.stop.value}" if grounds.stop else "")


def notes(belief: Belief, chosen: int, seen: Sequence[Seen]) -> Iterator[str]:
    """Yield what a reader must know beside the reason."""
    space, lam = belief.space, belief.lam(chosen)
    if lam in (space.low, space.high) and lam != space.default:
        side = "strongest" if lam == space.high else "weakest"
        yield f"λ={short(lam)} is the {side} that was looked at: beyond it may be better ones"
    yield from _suspicions(space, seen)
    bad = [run for run in seen if run.is_bad]
    for what, runs in (
        ("collapsed", [run for run in bad if run.is_collapsed]),
        ("diverged", [run for run in bad if run.status is Status.DIVERGED]),
        ("failed", [run for run in bad if run.status is Status.FAILED]),
    ):
        if runs:
            lams = sorted({space.lam_of(run.variant) for run in runs})
            ends = short(lams[0]) if len(lams) == 1 else f"{short(lams[0])} to {short(lams[-1])}"
            yield f"{len(runs)} of {len(seen)} runs {what}, at λ={ends}"


def _suspicions(space: Space, seen: Sequence[Seen]) -> Iterator[str]:
    """Yield what looks like a mistake of the training, or like too little of it."""
    by_seed = defaultdict[int, set[float]](set)
    for run in seen:
        if math.isfinite(run.loss):
            by_seed[run.seed].add(run.loss)
    n_runs = sum(math.isfinite(run.loss) for run in seen)
    if len(by_seed) > 1 and len(set().union(*by_seed.values())) == 1:
        yield f"every run gave exactly the same loss: are {space.name} and the seed used?"
    elif n_runs > len(by_seed) and all(len(losses) == 1 for losses in by_seed.values()):
        yield f"every {space.name} gave exactly the same loss with a seed: does it reach the optimiser?"
    if len(by_seed) == 1:
        yield "one seed says nothing of other seeds, and neither does the interval: take five or more"


def _named(belief: Belief, setting: int) -> str:
    variant: Variant = belief.variants[setting]
    shown = {belief.space.name, *belief.space.others}
    return ", ".join(
        f"λ={variant[name]:.3g}" if name == belief.space.name else f"{name}={short(variant[name])}"
        for name in variant
        if name in shown
    )


def _amount(belief: Belief, gain: float, metric: str) -> str:
    if belief.scale.is_log:
        return _signed(f"{round(100 * (1 - math.exp(-gain)), 1) + 0.0:.1f} %")
    known = metric_of(metric)
    return _signed(f"{known.factor * belief.scale.unit * gain:.3g} {known.difference_unit}".rstrip())


def _signed(text: str) -> str:
    """Write a number below zero with a minus sign, as everywhere.

    >>> _signed("-0.5 %"), _signed("0.5 %")
    ('−0.5 %', '0.5 %')
    """
    return text.replace("-", "−", 1) if text.startswith("-") else text
