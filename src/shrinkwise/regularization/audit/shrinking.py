"""Findings on how weights shrink: by what, whether in proportion, and whether at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from shrinkwise.regularization.audit.action import PULLS_TO_ZERO_ALIKE
from shrinkwise.regularization.audit.finding import Finding, Seen, about
from shrinkwise.regularization.audit.parameter import AuditedParameter


def _not_finite(seen: Seen) -> Iterator[Finding]:
    def is_odd(parameter: AuditedParameter) -> bool:
        strengths = (parameter.lr, *(action.lam for action in parameter.actions))
        return any(value is not None and not math.isfinite(value) for value in strengths)

    odd = [p for p in seen.parameters if is_odd(p)]
    if odd:
        mend = "a step would make the weights infinite or nan: give finite numbers"
        yield about(odd, "strength_not_finite", "a strength or learning rate is infinite or nan", mend)


def _regularised_twice(seen: Seen) -> Iterator[Finding]:
    doubled = [
        p for p in seen.parameters if sum(action.kind in PULLS_TO_ZERO_ALIKE for action in p.actions) > 1 and not p.is_frozen
    ]
    for penalty in dict.fromkeys(p.penalty for p in doubled):
        those = [p for p in doubled if p.penalty == penalty]
        message = f"regularised twice, {penalty}"
        yield about(those, "regularised_twice", message, "keep one of the two, and set the other to 0")


def _decay_lost(seen: Seen) -> Iterator[Finding]:
    """FACTS call this the rounding trap: near w a number format knows no w·(1 − lr·λ), and the product is w again."""
    lost = [p for p in seen.parameters if p.is_lost and p.is_regularised]
    for dtype in dict.fromkeys(p.dtype for p in lost):
        those = [p for p in lost if p.dtype == dtype]
        shrink = max(p.lost_shrink for p in those)
        message = f"decay of {shrink:.2g} a step is lost to rounding in {dtype}"
        if dtype in ("float32", "float64"):
            mend = "it is too weak to act: raise lr or weight_decay, or set weight_decay to 0 and have what you have now"
        else:
            mend = "keep the weights that the optimiser steps in float32, as autocast does, or round stochastically"
        yield about(those, "decay_lost_to_rounding", message, mend)


def _decay_without_effect(seen: Seen) -> Iterator[Finding]:
    idle = [p for p in seen.parameters if p.declared_shrink and p.is_idle and p.is_regularised]
    if idle:
        message = "weight_decay is declared and does not act, neither without a gradient nor along with one"
        yield about(idle, "decay_without_effect", message, "see whether this optimiser reads weight_decay from its groups")


def _decay_at_times(seen: Seen) -> Iterator[Finding]:
    at_times = [p for p in seen.parameters if p.declared_shrink and not p.shrinks and p.measured_shrink == 0 and not p.is_idle]
    those = [p for p in at_times if p.unrounded_shrink == 0 and p.is_regularised and p.strength_by("weight_decay")]
    if those:
        message = "weight_decay does not act in one step at a zero gradient, and does along with a gradient or over many steps"
        yield about(those, "decay_at_times", message, "read the measured 0 as nothing but that", is_note=True)


def _shrinks_otherwise(seen: Seen) -> Iterator[Finding]:
    """A trust ratio makes every step as long as lr·‖w‖ where there is no gradient, whatever the decay is."""
    others = [p for p in seen.parameters if _is_otherwise(p)]
    if others:
        ratios = [p.unrounded_shrink / p.declared_shrink for p in others if p.unrounded_shrink and p.declared_shrink]
        text = _times(min(ratios)) + ("" if max(ratios) < 1.1 * min(ratios) else f" to {_times(max(ratios))}")
        message = f"a step removes {text} times lr·weight_decay"
        mend = (
            "a trust ratio (LARS, LAMB), an adaptive step or a decay apart from the learning rate does that: tune by the measured "
            "figure, which with the first two belongs to a step without a gradient alone"
        )
        yield about(others, "shrinks_otherwise", message, mend)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _is_otherwise(parameter: AuditedParameter) -> bool:
    declared, measured = parameter.declared_shrink, parameter.unrounded_shrink
    if not declared or not measured or not parameter.is_proportional or len(parameter.actions) != 1 or parameter.is_frozen:
        return False
    return not 0.5 < measured / declared < 2


def _attached_not_decay(seen: Seen) -> Iterator[Finding]:
    rescaled = [p for p in seen.parameters if p.is_rescaled and not p.is_frozen]
    for label in dict.fromkeys(p.groups[0].partition("[")[0] for p in rescaled):
        those = [p for p in rescaled if p.groups[0].partition("[")[0] == label]
        message = f"a penalty attached to {label} as a gradient is not decay, what it removes is not in proportion to its strength"
        mend = 'it divides the penalty\'s gradient by its own size; use attach(optimizer, form="decoupled")'
        yield about(those, "l2_is_not_decay", message, mend)


def _shrinks_too_far(seen: Seen) -> Iterator[Finding]:
    far = [p for p in seen.parameters if _is_too_far(p)]
    if far:
        message = "a step removes the whole weight or more, so it turns it to zero or turns its sign"
        yield about(far, "shrinks_too_far", message, "lower lr or the strength until lr times the strength is far below 1")


def _is_too_far(parameter: AuditedParameter) -> bool:
    """Whether it is decay that does it, or L2 as a gradient that is left as it is; not a hook, and no step of one length."""
    pulls = any(action.kind in PULLS_TO_ZERO_ALIKE for action in parameter.actions)
    if not pulls or parameter.is_frozen or parameter.is_idle or parameter.is_proportional is False:
        return False
    is_measured = parameter.measured_shrink is not None and not parameter.strength_by("hook")
    shrink = parameter.measured_shrink if is_measured else parameter.declared_shrink
    return shrink is not None and 1 - 1e-6 <= shrink < math.inf


def _unlike_standin(seen: Seen) -> Iterator[Finding]:
    unlike = [p for p in seen.parameters if p.is_unlike_standin]
    if unlike:
        first = unlike[0]
        message = f"the real step removed {first.measured_shrink:.2g}, one of an optimiser made anew {first.unrounded_shrink:.2g}"
        mend = "believe the real one; the other knows no state and no options but those in groups, defaults and plain attributes"
        yield about(unlike, "unlike_standin", message, mend, is_note=True)


def _undeclared_shrink(seen: Seen) -> Iterator[Finding]:
    hidden = [p for p in seen.parameters if p.shrinks and p.groups and not p.actions and not p.is_frozen]
    if hidden:
        message = "shrinks though nothing declares it"
        yield about(hidden, "undeclared_shrink", message, "look into the optimiser: it decays by another name or by a constant")


def _not_proportional(seen: Seen) -> Iterator[Finding]:
    rescaled = [p for p in seen.parameters if p.is_proportional is False and p.strength_by("weight_decay") and not p.is_frozen]
    for label in dict.fromkeys(p.groups[0].partition("[")[0] for p in rescaled):
        those = [p for p in rescaled if p.groups[0].partition("[")[0] == label]
        coupled = [p for p in those if any(a.kind == "l2" and a.by == "weight_decay" for a in p.actions)]
        if coupled:
            message = f"the L2 of {label} is not decay, what it removes is not in proportion to the weight"
            mend = "it divides the penalty's gradient by its own size; use a decoupled form, such as torch.optim.AdamW"
            yield about(coupled, "l2_is_not_decay", message, mend)
        if others := [p for p in those if p not in coupled]:
            message = f"what {label} removes is not in proportion to the weight, though its decay is no gradient"
            mend = "its step depends on the size of the weight in some other way, as a proximal or a relative step does"
            yield about(others, "decay_not_proportional", message, mend)


CHECKS: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _not_finite,
    _regularised_twice,
    _decay_lost,
    _decay_without_effect,
    _decay_at_times,
    _shrinks_otherwise,
    _shrinks_too_far,
    _undeclared_shrink,
    _unlike_standin,
    _not_proportional,
    _attached_not_decay,
)
