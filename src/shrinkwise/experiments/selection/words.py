"""Why a λ was chosen, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shrinkwise.experiments.records import Status, Variant, short
from shrinkwise.experiments.selection.belief import Belief
from shrinkwise.experiments.selection.choice import Seen
from shrinkwise.experiments.selection.stopping import Stop


class Gain(NamedTuple):
    """How much less the loss is than at the default, on the additive scale: its mean, and the ends of its 90 % interval."""

    mean: float
    low: float
    high: float


def reason(belief: Belief, chosen: int, gain: Gain, stop: Stop | None, rule: str, *, keeps: bool) -> str:
    """Say in a sentence or two why this setting is taken.

    Args:
        belief: What the runs say.
        chosen: The setting that is taken.
        gain: What the best one gains over the default.
        stop: Why looking ended early, if it did.
        rule: ``minimum`` or ``one-se``.
        keeps: Whether the default is kept.
    """
    default = _named(belief, belief.index(belief.space.default_variant))
    if keeps:
        if chosen == belief.best:
            return f"keep {default}: it has the least expected validation loss of all that were looked at"
        return (
            f"no difference beyond noise: keep {default}; what could still be gained over it is {_amount(belief, gain.mean)} "
            f"({_range(belief, gain)})"
        )
    what = (
        "has the least expected validation loss"
        if rule == "minimum"
        else "is the strongest within one standard error of the least expected validation loss"
    )
    said = f"{_named(belief, chosen)} {what}, {_amount(belief, gain.mean)} under that at {default} ({_range(belief, gain)})"
    if gain.low <= 0:
        said += "; the gain is not beyond noise"
    return said + (f"; the search ended early: {stop.value}" if stop else "")


def notes(belief: Belief, chosen: int, seen: Sequence[Seen]) -> Iterator[str]:
    """Yield what a reader must know beside the reason."""
    space, lam = belief.space, belief.lam(chosen)
    if lam in (space.low, space.high) and lam != space.default:
        side = "strongest" if lam == space.high else "weakest"
        yield f"λ={short(lam)} is the {side} that was looked at: beyond it may be better ones"
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


def _named(belief: Belief, setting: int) -> str:
    variant: Variant = belief.variants[setting]
    shown = {belief.space.name, *belief.space.others}
    return ", ".join(f"{'λ' if name == belief.space.name else name}={short(variant[name])}" for name in variant if name in shown)


def _amount(belief: Belief, gain: float) -> str:
    if belief.scale.is_log:
        return f"{100 * (1 - math.exp(-gain)):.1f} %"
    return f"{gain * belief.scale.unit:.3g}"


def _range(belief: Belief, gain: Gain) -> str:
    return f"90 % interval {_amount(belief, gain.low)} to {_amount(belief, gain.high)}"
