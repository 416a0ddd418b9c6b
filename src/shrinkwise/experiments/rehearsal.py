"""Everything that can be known to go wrong is tried before the first run is trained and the first byte written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.errors import DataError, SettingError, did_you_mean
from shrinkwise.experiments.data import Dataset, Split, choose_rows, cut
from shrinkwise.experiments.engine import Recipe, build_model, predict
from shrinkwise.experiments.engine.live import PENALTIES, attached
from shrinkwise.experiments.engine.pace import paced, steps_per_epoch
from shrinkwise.experiments.records import Condition, Setting, Variant
from shrinkwise.experiments.scalars import scalar
from shrinkwise.regularization.apply import param_groups

_READ_BY_US = ("l2", "lr", *PENALTIES)
"""Settings that act without the model's reading them."""

_TRIED = 0.125
"""A strength that no optimiser has as its default, so that it can be told from one."""


@dataclass(frozen=True)
class Rehearsal:
    """What was made on the way.

    Attributes:
        split: The rows of the condition with the most training rows, for the first seed.
        models: A network for each variant, for the first seed.
        optimizer: An optimiser of the first network.
        penalties: Kinds of penalty, beside L2, that some variant has.
    """

    split: Split
    models: tuple[nn.Module, ...]
    optimizer: Optimizer
    penalties: tuple[str, ...] = ()


def rehearse(
    recipe: Recipe,
    dataset: Dataset,
    variants: Sequence[Variant],
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    metric: str,
) -> Rehearsal:
    """Cut the rows of every condition and seed, and make and try the network of every variant and an optimiser.

    Raises:
        DataError: The data cannot carry a condition for some seed, or the metric cannot be measured on their test rows.
        ModelError: A network's outputs do not fit the task.
        SettingError: A setting of the variants is read by nobody, a penalty cannot act, the optimiser takes no notice of
            ``weight_decay``, or has no learning rate where a variant or a schedule acts on it; a schedule gives no factors.
    """
    sizes = {condition: [len(choose_rows(dataset, condition, seed)[0]) for seed in seeds] for condition in conditions}
    largest = max(conditions, key=lambda condition: sizes[condition][0])
    split = cut(dataset, largest, seeds[0])
    _check_metric(metric, dataset)
    rows = torch.from_numpy(split.x_train[:2])
    watched = [_Watched(variant) for variant in variants]
    models = tuple(build_model(recipe, variant, seeds[0], rows) for variant in watched)
    for model in models:
        predict(recipe, model, rows)
    _check_settings(set(_READ_BY_US).union(*(variant.read for variant in watched)), variants)
    optimizer = _try_optimizer(recipe, models[0])
    _check_rates(recipe, optimizer, variants)
    recipe = paced(recipe, len(split.y_train))
    _check_schedules(recipe, optimizer, len(split.y_train))
    penalties = tuple(kind for kind in PENALTIES if any(variant.get(kind) for variant in variants))
    for variant, model in zip(variants, models, strict=True):
        if any(variant.get(kind) for kind in penalties):
            attached(recipe, model, recipe.optimizer(param_groups(model, 0.0, apply_to=recipe.apply_to)), variant)
    return Rehearsal(split, models, optimizer, penalties)


class _Watched(Variant):
    """A variant that remembers which of its settings were read."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(**variant)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Setting:
        value = super().__getitem__(name)
        self.read.add(name)
        return value


def _check_settings(read: set[str], variants: Sequence[Variant]) -> None:
    for name in dict.fromkeys(name for variant in variants for name in variant):
        if name not in read:
            raise SettingError(
                f"the setting {name!r} of the variants is read by nobody",
                "the model was made without it, and it is not l2 or lr, which act through the optimiser: it could have no effect",
                did_you_mean(name, [*_READ_BY_US, *sorted(read.difference(_READ_BY_US))]),
            )


def _check_metric(metric: str, dataset: Dataset) -> None:
    if metric == "auc" and dataset.test is not None and len(np.unique(dataset.test[1])) < len(dataset.classes):
        raise DataError(
            "auc cannot be measured", "the given test part has no row of some class", "take another metric, or give such rows"
        )


def _try_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """Make an optimiser, and make sure that it knows the strengths that it was given."""
    groups = param_groups(model, _TRIED, apply_to=recipe.apply_to)
    wanted = sorted(group["weight_decay"] for group in groups)
    optimizer = recipe.optimizer([dict(group) for group in groups])
    if not isinstance(optimizer, Optimizer):
        raise SettingError(
            f"optimizer(groups) gives {type(optimizer).__name__}",
            "it is to give an optimiser",
            "return a torch.optim.Optimizer from it",
        )
    found = sorted(group.get("weight_decay", 0.0) + group.get("decoupled_decay", 0.0) for group in optimizer.param_groups)
    if "weight_decay" not in optimizer.defaults or found != wanted:
        raise SettingError(
            f"{type(optimizer).__name__} does not apply the weight_decay of its groups",
            "l2 acts through it, and would have no effect",
            "make an optimiser that has weight_decay, of the groups as they are given",
        )
    return optimizer


def _check_rates(recipe: Recipe, optimizer: Optimizer, variants: Sequence[Variant]) -> None:
    own = next((variant["lr"] for variant in variants if "lr" in variant), None)
    asked = {"a variant has lr": own, "schedule is": recipe.schedule, "lr_schedule is": recipe.lr_schedule}
    name, value = next(((name, value) for name, value in asked.items() if value is not None), ("", None))
    if value is not None and not all("lr" in group for group in optimizer.param_groups):
        raise SettingError(
            f"{name} {value}",
            f"{type(optimizer).__name__} has no learning rate that it could act on",
            "leave it out, or take an optimiser that has one",
        )


def _check_schedules(recipe: Recipe, optimizer: Optimizer, n_rows: int) -> None:
    """Ask each schedule for the factors of the first step and the last: somebody's own may give anything."""
    last = recipe.epochs * steps_per_epoch(recipe, n_rows) - 1
    lr = float(optimizer.param_groups[0].get("lr", 0.0))
    for name, schedule in (("schedule", recipe.schedule), ("lr_schedule", recipe.lr_schedule)):
        for factor in [scalar(schedule.factor(step, lr, lr)) for step in (0, last)] if schedule else ():
            if factor is None or not 0 <= factor < float("inf"):
                cause = "a factor is a finite number, 0 or above"
                raise SettingError(f"{name} gives the factor {factor}", cause, f"mend {type(schedule).__name__}.factor")
