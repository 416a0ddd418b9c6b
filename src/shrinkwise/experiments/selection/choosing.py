"""From what is believed to a choice in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from shrinkwise.errors import TrainingError
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.selection.belief import Belief
from shrinkwise.experiments.selection.choice import Choice, Cost, CurvePoint, Seen, Step
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.space import Space
from shrinkwise.experiments.selection.stopping import Stop
from shrinkwise.experiments.selection.words import Gain, Grounds, notes, reason


def conclude(
    method: str,
    belief: Belief | None,
    seen: Sequence[Seen],
    path: Sequence[Step],
    objective: Objective,
    *,
    stop: Stop | None,
    rule: str,
    best: Variant | None = None,
) -> Choice:
    """Return the choice that the runs come to.

    Args:
        method: Which method saw the runs.
        belief: What they say; None where none ended well.
        seen: The runs.
        path: How they were come by.
        objective: What was minimised.
        stop: Why looking ended early; None where the budget was spent.
        rule: ``minimum`` or ``one-se``.
        best: The best of them, where the method says so itself; else the one with the least expected loss.

    Raises:
        TrainingError: No run ended well.
    """
    if belief is None:
        raise TrainingError(
            f"none of {len(seen)} runs ended well ({_counted(seen)})",
            "there is no loss to choose by, however weak the penalty",
            "look at what the runs say, and at the learning rate",
        )
    space = belief.space
    default = belief.index(space.default_variant)
    least = belief.best if best is None else belief.index(best)
    taken = least if rule == "minimum" else strongest_within_an_error(belief, least)
    gain = Gain(*belief.gain(least if taken == default else taken, over=default))
    is_within_noise = gain.low <= 0 and gain.mean < belief.margin / 2
    # The rule of one standard error is asked for by whoever wants the strongest that does no harm, not a reason to change.
    keeps = taken == default or (rule == "minimum" and (stop is Stop.NOTHING_TO_GAIN or is_within_noise))
    chosen = default if keeps else taken
    low, high = belief.interval(chosen)
    others = {name: belief.variants[chosen][name] for name in space.others}
    return Choice(
        method=method,
        variant=belief.variants[chosen],
        lam=belief.lam(chosen),
        unit=space.unit,
        low=low,
        high=high,
        reason=reason(
            belief, Grounds(chosen, gain, stop, rule, objective, keeps=keeps, is_taken=taken == chosen, is_least=least == chosen)
        ),
        at_boundary=not keeps and belief.lam(chosen) in (space.low, space.high),
        keeps_default=keeps,
        is_beyond_noise=keeps or gain.low > 0,
        curve=belief.curve(others),
        cost=cost_of(seen),
        runs=tuple(seen),
        path=tuple(path),
        curves=_curves(belief, space),
        notes=tuple(notes(belief, chosen, seen)),
        name=space.name,
        default=space.default,
        metric=objective.metric,
        is_higher_better=objective.is_higher_better,
    )


def strongest_within_an_error(belief: Belief, best: int) -> int:
    """Return the largest λ, at the other settings of the best, whose expected loss is within one standard error of its own.

    The error is that of the difference, which is what common random numbers leave of it.
    """
    others = list(belief.space.others)
    same = [k for k, variant in enumerate(belief.variants) if all(variant[name] == belief.variants[best][name] for name in others)]
    draws = belief.posterior.draws
    within = [k for k in same if belief.posterior.mean[k] - belief.posterior.mean[best] <= np.std(draws[:, k] - draws[:, best])]
    return max([best, *within], key=belief.lam)


def cost_of(seen: Sequence[Seen]) -> Cost:
    """Return what runs cost."""
    return Cost(
        seeds=len({run.seed for run in seen}),
        trainings=len(seen),
        sample_gradients=sum(run.n_gradients for run in seen),
        seconds=sum(run.seconds for run in seen),
    )


def _counted(seen: Sequence[Seen]) -> str:
    return ", ".join(f"{n} {status.value}" for status, n in Counter(run.status for run in seen).items())


def _curves(belief: Belief, space: Space) -> tuple[tuple[Variant, tuple[CurvePoint, ...]], ...]:
    combinations = space.combinations()
    if len(combinations) == 1:
        return ()
    return tuple((Variant(**others), belief.curve(others)) for others in combinations)
