"""One multiplier on the strengths that the evidence asks for, searched as λ is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from shrinkwise.experiments.records import Condition, Setting
from shrinkwise.experiments.selection.choice import Choice, Step, TrainMany
from shrinkwise.experiments.selection.objective import Objective
from shrinkwise.experiments.selection.search import search
from shrinkwise.experiments.selection.space import Space

LOW, HIGH = 1 / 30, 3.0


def multiplier_space(fixed: Mapping[str, Setting] | None = None) -> Space:
    """Return where the multiplier c is searched: 1/30 to 3, beside no penalty at all; 1 is the evidence as it stands.

    Where the best lies at an end, the search goes on beyond it.

    Args:
        fixed: Settings that every variant has.
    """
    return Space(low=LOW, high=HIGH, default=1.0, fixed=dict(fixed or {}))


def search_multiplier(  # noqa: PLR0913  as search
    train_many: TrainMany,
    objective: Objective,
    *,
    seeds: Sequence[int],
    budget: int,
    space: Space | None = None,
    condition: Condition | None = None,
    rule: str = "minimum",
    margin: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Choice:
    """Choose the multiplier by full-length runs, see :func:`search`.

    Args:
        train_many: Trains runs by a recipe whose ``profile`` is the evidence's strengths and whose ``unit`` is ``half``: the ``l2``
            of a variant is then the multiplier.
        objective: What is minimised.
        seeds: Seeds that may be used.
        budget: Most trainings, those of the networks that the evidence was taken of not among them.
        space: :func:`multiplier_space` if left out.
        condition: What the data are like.
        rule: ``minimum`` or ``one-se``.
        margin: What counts as no difference.
        on_step: Called after each round.

    Returns:
        The choice, whose ``lam``, interval and curve are multipliers.

    Raises:
        SettingError: There is no seed, or the budget is too small to show a curve.
        TrainingError: No run ended well.
    """
    choice = search(
        train_many,
        space or multiplier_space(),
        objective,
        seeds=seeds,
        budget=budget,
        condition=condition,
        rule=rule,
        margin=margin,
        on_step=on_step,
    )
    return replace(
        choice,
        method="evidence",
        notes=(*choice.notes, "λ is a multiplier here: each layer has it times its strength by the evidence"),
    )
