"""The live objects of one run, made the same for every loop: rows, network, optimiser and what is attached to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.build import build_model
from shrinkwise.experiments.engine.optimizers import set_lr
from shrinkwise.experiments.engine.pace import paced
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.records import RunKey, Variant
from shrinkwise.regularization.apply import Bound, Regularizer, param_groups, schedule_decay
from shrinkwise.regularization.dropout import place_dropout
from shrinkwise.regularization.rules import Key, Role, place
from shrinkwise.regularization.strength import to_lam
from shrinkwise.seeding import derive

PENALTIES = ("l1", "elastic_net", "group_lasso", "l2_sp", "max_norm")
"""Settings of a variant that are penalties beside ``l2``, each in the unit of :class:`Regularizer`; coupled, but for max-norm."""


@dataclass(frozen=True, eq=False)
class LiveRun:
    """One run before its first step.

    Attributes:
        key: Which run it is.
        split: Its rows.
        lam: Strength of L2 in the package's one unit.
        model: Its network.
        optimizer: Its optimiser; L2 is its ``weight_decay``.
        bound: Its other penalties, attached to the optimiser; None where it has none.
        matrices: Name -> weight matrix or filter.
        x: Training rows, shape ``(n_train, ...)``; ``x_val`` likewise.
        y: Training targets, shape ``(n_train,)``; ``y_val`` likewise.
    """

    key: RunKey
    split: Split
    lam: float
    model: nn.Module
    optimizer: Optimizer
    bound: Bound | None
    matrices: dict[str, nn.Parameter]
    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor


Rows = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training inputs and targets, validation inputs and targets, where a run is trained."""


def rows_of(recipe: Recipe, split: Split) -> Rows:
    """Return the rows that a run trains and chooses by, on its device."""
    x, y, x_val, y_val = (
        torch.from_numpy(rows).to(recipe.device) for rows in (split.x_train, split.y_train, split.x_val, split.y_val)
    )
    return x, y, x_val, y_val


def prepare(recipe: Recipe, split: Split, key: RunKey, rows: Rows | None = None) -> LiveRun:
    """Make what one run is trained with.

    Args:
        recipe: How it is trained.
        split: Its rows.
        key: Which run it is.
        rows: What :func:`rows_of` gave for them, where it was asked already.

    Raises:
        SettingError: A strength is out of range, or the optimiser cannot take what is asked of it.
    """
    recipe = paced(recipe, len(split.y_train))
    x, y, x_val, y_val = rows or rows_of(recipe, split)
    lam = to_lam(float(key.variant.get("l2", 0.0)), recipe.unit, n_samples=len(y), batch_size=recipe.batch_size)
    model = build_model(recipe, key.variant, key.seed, torch.from_numpy(split.x_train[:2])).to(recipe.device)
    place_dropout(model, derive("dropout", key.seed))
    strengths: float | dict[Key, float] = lam
    if recipe.profile is not None:
        strengths = {name: lam * by for name, by in recipe.profile.items()}
    optimizer = set_lr(recipe.optimizer(param_groups(model, strengths, apply_to=recipe.apply_to)), key.variant)
    if recipe.schedule is not None and any("weight_decay" in group for group in optimizer.param_groups):
        schedule_decay(optimizer, recipe.schedule)
    matrices = {p.name: p.parameter for p in place(model) if p.role is Role.WEIGHT}
    bound = attached(recipe, model, optimizer, key.variant)
    return LiveRun(key, split, lam, model, optimizer, bound, matrices, x, y, x_val, y_val)


def attached(recipe: Recipe, model: nn.Module, optimizer: Optimizer, variant: Variant) -> Bound | None:
    """Attach the penalties that a variant has beside L2, if any, and return them.

    Raises:
        SettingError: A strength is no number of 0 or above, or a penalty cannot act on this model.
    """
    slots: dict[str, Any] = {}
    for kind in PENALTIES:
        # A limit of 0 means none asked for, as everywhere in a variant: a setting that is zero is switched off.
        if strength := variant.get(kind):
            if isinstance(strength, str | bool):
                raise SettingError(f"{kind} is {strength!r}", "it is a strength", "give a number, 0 or above")
            slots[kind] = strength
    if not slots:
        return None
    schedule = recipe.schedule if any(kind != "max_norm" for kind in slots) else None
    bound = Regularizer(**slots, apply_to=recipe.apply_to, schedule=schedule).bind(model)
    bound.attach(optimizer)
    return bound
