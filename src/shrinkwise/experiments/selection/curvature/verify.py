"""The advice on a layer, put to the test: the same seeds trained again with that layer held twice or half as strongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import Recipe, train_model, train_one
from shrinkwise.experiments.records import Condition, RunKey, Status, Variant
from shrinkwise.experiments.selection.curvature.sensitivity import MORE, UNCLEAR
from shrinkwise.experiments.selection.curvature.winner import strengths_in
from shrinkwise.experiments.selection.layers import LayerSensitivity
from shrinkwise.experiments.selection.objective import Objective

FACTOR = 2.0


@dataclass(frozen=True)
class VerifiedStep:
    """What one step along the advice came to.

    Attributes:
        name: Dotted name of the parameter.
        factor: What its strength was multiplied by: 2, or a half.
        change: Mean change of the validation loss, paired by seed: negative where the step helped. NaN where no run was done.
        error: Its standard error over seeds; NaN for one seed.
        n: Number of seeds of which both runs were done.
    """

    name: str
    factor: float
    change: float
    error: float
    n: int

    @property
    def is_borne_out(self) -> bool:
        """Whether the loss went the way that was advised."""
        return self.change < 0


def verify(
    recipe: Recipe,
    split_of: Callable[[int], Split],
    variant: Variant,
    seeds: Sequence[int],
    advice: Iterable[LayerSensitivity],
    *,
    condition: Condition | None = None,
    objective: Objective | None = None,
) -> tuple[VerifiedStep, ...]:
    """Take each clear advice by one step, a factor of 2 on the strength of one layer, and train again.

    Args:
        recipe: How the settings were trained.
        split_of: Seed -> its rows.
        variant: The settings; its strength is not 0.
        seeds: Seeds to train; one run each for the settings as they are, and one for each advice.
        advice: From the sensitivity; layers without a clear direction are passed over.
        condition: What the data are like; it names the runs.
        objective: What is compared; the validation loss at the end where none is given.

    Returns:
        One a layer with a clear direction, in the order given.
    """
    told = [layer for layer in advice if layer.advice != UNCLEAR]
    judged = objective or Objective()
    changes: dict[str, list[float]] = {layer.name: [] for layer in told}
    for seed in seeds if told else ():
        split, key = split_of(seed), RunKey(variant, condition or Condition(), seed)
        model, before = train_model(recipe, split, key)
        even = dict(recipe.profile) if recipe.profile is not None else dict.fromkeys(strengths_in(recipe, model, 1.0), 1.0)
        for layer in told:
            stepped = replace(recipe, profile=even | {layer.name: even[layer.name] * _factor(layer)})
            after = train_one(stepped, split, key)
            if before.status is Status.DONE and after.status is Status.DONE:
                changes[layer.name].append(judged.see(after).loss - judged.see(before).loss)
    return tuple(_step(layer, changes[layer.name]) for layer in told)


def _factor(layer: LayerSensitivity) -> float:
    return FACTOR if layer.advice == MORE else 1 / FACTOR


def _step(layer: LayerSensitivity, changes: Sequence[float]) -> VerifiedStep:
    n = len(changes)
    error = float(np.std(changes, ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return VerifiedStep(layer.name, _factor(layer), float(np.mean(changes)) if n else math.nan, error, n)
