"""Layer by layer: what the networks of the chosen settings say, trained again seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from shrinkwise.errors import ShrinkwiseError
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine import Recipe, train_model
from shrinkwise.experiments.engine.optimizers import set_lr
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant
from shrinkwise.experiments.selection.curvature.course import Course, adams_divisors, course_of
from shrinkwise.experiments.selection.curvature.evidence import SCALE_INVARIANT, averaged, layer_strengths
from shrinkwise.experiments.selection.curvature.network import Trained, at_rest
from shrinkwise.experiments.selection.curvature.sensitivity import pooled, slopes
from shrinkwise.experiments.selection.curvature.spectrum import Method
from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength
from shrinkwise.regularization.apply import param_groups
from shrinkwise.regularization.rules import chosen, place


def look_at_layers(
    recipe: Recipe,
    split_of: Callable[[int], Split],
    variant: Variant,
    seeds: Sequence[int],
    *,
    condition: Condition | None = None,
    method: Method = "auto",
    select: str = "last",
    on_run: Callable[[Record], None] | None = None,
) -> tuple[tuple[LayerStrength, ...], tuple[LayerSensitivity, ...]]:
    """Train the chosen settings again, one run a seed, and return what the evidence and the sensitivity say of each layer.

    Args:
        recipe: How to train.
        split_of: Seed -> its rows.
        variant: The chosen settings.
        seeds: Seeds to train; a run that diverges or fails is left out.
        condition: What the data are like; it names the runs.
        method: How spectra are taken, see :func:`layer_strengths`.
        select: Whose weights are looked at: ``last`` or ``best-val``.
        on_run: Called with the record of each run, before its network is looked at.

    Returns:
        The layers, means over seeds, and the sensitivities, none of layers that are scale-invariant, and none where the chosen
        strength is 0. Nothing where every run diverged.

    Raises:
        MissingExtraError: curvlinops is not installed.
        ModelError: The network cannot be differentiated as this needs it.
    """
    strengths, found = [], []
    for seed in seeds:
        split = split_of(seed)
        network = trained_network(recipe, split, RunKey(variant, condition or Condition(), seed), select)
        if network is None:
            continue
        model, record = network
        if on_run:
            on_run(record)
        if record.status is Status.DONE:
            x, y = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train)
            strengths.append(layer_strengths(model, x, y, recipe.task, method=method))
            found.append(slopes_of_run(recipe, split, model, record, select))
    layers = averaged(strengths)
    # The size of such a weight sets how fast it learns, which no derivative at the end of training sees.
    passed_over = {layer.name for layer in layers if layer.why_left_out == SCALE_INVARIANT}
    return layers, tuple(layer for layer in pooled(found) if layer.name not in passed_over)


def trained_network(recipe: Recipe, split: Split, key: RunKey, select: str = "last") -> tuple[nn.Module, Record] | None:
    """Train one run as :func:`train_model` does; None where a user's model or optimiser fails in it."""
    try:
        return train_model(recipe, split, key, select)
    except ShrinkwiseError:
        raise
    except Exception:  # noqa: BLE001  anything may come out of a user's code
        return None


def slopes_of_run(recipe: Recipe, split: Split, model: nn.Module, record: Record, select: str = "last") -> dict[str, float]:
    """Return the slopes of one trained network, see :func:`slopes`, at the strengths and by the optimiser that it was trained with.

    Args:
        recipe: How it was trained.
        split: The rows of its run.
        model: The network.
        record: Of its run, which is done.
        select: Whose weights the network has.
    """
    train, val = (
        (torch.from_numpy(x), torch.from_numpy(y)) for x, y in ((split.x_train, split.y_train), (split.x_val, split.y_val))
    )
    outcome = record.outcome(select)
    n_steps = outcome.epoch * math.ceil(record.n_train / recipe.batch_size)
    return slopes(
        model,
        train,
        val,
        recipe.task,
        strengths_in(recipe, model, record.lam),
        course=_course(recipe, model, train, n_steps, record),
    )


def strengths_in(recipe: Recipe, model: nn.Module, lam: float) -> dict[str, float]:
    """Return the strength of each parameter that a recipe penalises, by name.

    Args:
        recipe: How the network is trained.
        model: The network.
        lam: Strength of the variant in the package's one unit, as its record has it.
    """
    if recipe.profile is not None:
        return {name: lam * by for name, by in recipe.profile.items()}
    return {placement.name: lam for placement in chosen(place(model), recipe.apply_to)}


def _course(recipe: Recipe, model: nn.Module, train: tuple[torch.Tensor, torch.Tensor], n_steps: int, record: Record) -> Course:
    optimizer = set_lr(recipe.optimizer(param_groups(model, 0.0)), record.key.variant)
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return course_of(optimizer, n_steps, {})
    trained = Trained(model, *train, recipe.task)
    batches = [
        (x, y)
        for rows, wanted in trained.batches
        for x, y in zip(rows.split(recipe.batch_size), wanted.split(recipe.batch_size), strict=True)
    ]
    trainable = tuple(placement for placement in place(model) if not placement.is_frozen)
    with at_rest(model):
        return course_of(optimizer, n_steps, adams_divisors(trained.reader, trainable, trained.loss, batches))
