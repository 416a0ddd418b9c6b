"""The advice on a layer, put to the test: the same seeds trained again with that layer held twice or half as strongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import Recipe, build_model
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant
from shrinkwise.experiments.selection.curvature.sensitivity import MORE, UNCLEAR
from shrinkwise.experiments.selection.curvature.winner import strengths_in, trained_network
from shrinkwise.experiments.selection.layers import LayerSensitivity, VerifiedStep
from shrinkwise.experiments.selection.objective import Objective

FACTOR = 2.0


def verify(  # noqa: PLR0913  what is trained, on which seeds, and what is known already
    recipe: Recipe,
    split_of: Callable[[int], Split],
    variant: Variant,
    seeds: Sequence[int],
    advice: Iterable[LayerSensitivity],
    *,
    condition: Condition | None = None,
    objective: Objective | None = None,
    before: Mapping[int, Record] | None = None,
    on_run: Callable[[Record], None] | None = None,
) -> tuple[VerifiedStep, ...]:
    """Take each clear advice by one step, a factor of 2 on the strength of one layer, and train again.

    Args:
        recipe: How the settings were trained.
        split_of: Seed -> its rows.
        variant: The settings; its strength is not 0.
        seeds: Seeds to train; one run each for each advice, and one for the settings as they are where ``before`` lacks it.
        advice: From the sensitivity; layers without a clear direction are passed over.
        condition: What the data are like; it names the runs.
        objective: What is compared; the validation loss at the end where none is given.
        before: Seed -> record of the settings as they are, as far as they were trained already.
        on_run: Called with the record of each run that is trained.

    Returns:
        One a layer with a clear direction, in the order given.
    """
    told = [layer for layer in advice if layer.advice != UNCLEAR]
    judged = objective or Objective()
    known = dict(before or {})
    changes: dict[str, list[float]] = {layer.name: [] for layer in told}

    def train(how: Recipe, key: RunKey) -> Record | None:
        network = trained_network(how, split_of(key.seed), key)
        if network is None:
            return None
        if on_run:
            on_run(network[1])
        return network[1]

    for seed in seeds if told else ():
        key = RunKey(variant, condition or Condition(), seed)
        as_is = known.get(seed) or train(recipe, key)
        if as_is is None or as_is.status is not Status.DONE:
            continue
        even = dict(recipe.profile) if recipe.profile is not None else evenly(recipe, split_of(seed), variant, seed)
        for layer in told:
            after = train(replace(recipe, profile=even | {layer.name: even[layer.name] * _factor(layer)}), key)
            if after is not None and after.status is Status.DONE:
                changes[layer.name].append(judged.see(after).loss - judged.see(as_is).loss)
    return tuple(_step(layer, changes[layer.name]) for layer in told)


def evenly(recipe: Recipe, split: Split, variant: Variant, seed: int) -> dict[str, float]:
    """Return the profile that a recipe without one amounts to: 1 for every parameter that it penalises."""
    model = build_model(recipe, variant, seed, torch.from_numpy(split.x_train[:2]))
    return dict.fromkeys(strengths_in(recipe, model, 1.0), 1.0)


def _factor(layer: LayerSensitivity) -> float:
    return FACTOR if layer.advice == MORE else 1 / FACTOR


def _step(layer: LayerSensitivity, changes: Sequence[float]) -> VerifiedStep:
    n = len(changes)
    error = float(np.std(changes, ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return VerifiedStep(layer.name, _factor(layer), float(np.mean(changes)) if n else math.nan, error, n)
