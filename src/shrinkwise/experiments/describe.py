"""What an experiment is, in the words of a page: read off the data, the network and the optimiser that were made."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from shrinkwise.experiments.data import Dataset
from shrinkwise.experiments.engine import Recipe, decay_of
from shrinkwise.experiments.models import outline
from shrinkwise.experiments.rehearsal import Rehearsal
from shrinkwise.experiments.stats.margin import margin_of
from shrinkwise.experiments.study import Study
from shrinkwise.regularization.rules import chosen, place
from shrinkwise.regularization.strength import find_unit


def describe(recipe: Recipe, dataset: Dataset, made: Rehearsal, n_seeds: int, further: Mapping[str, Any]) -> Study:
    """Return the study of an experiment, judged by the task's usual metric, margin and selection.

    Args:
        recipe: How runs are trained.
        dataset: Where rows come from.
        made: What the rehearsal made.
        n_seeds: Number of seeds.
        further: Settings that only the caller knows, to be listed too.
    """
    split, model, optimizer = made.split, made.models[0], made.optimizer
    names = {placement.name for placement in chosen(place(model), recipe.apply_to)}
    decay = getattr(recipe.optimizer, "decay", None) or decay_of(optimizer)
    metric = "accuracy" if dataset.task == "classification" else "rmse"
    margin = margin_of(metric)
    group = optimizer.param_groups[0]
    return Study(
        data=dataset.name,
        task=dataset.task,
        classes=dataset.classes,
        n_train=len(split.y_train),
        n_val=len(split.y_val),
        n_test=len(split.y_test),
        is_resampled=dataset.is_resampled,
        unit=recipe.unit,
        decay=decay,
        epochs=recipe.epochs,
        primary_metric=metric,
        select="last",
        margin=margin.value,
        is_margin_relative=margin.is_relative,
        settings={
            "optimizer": type(optimizer).__name__,
            "lr": group["lr"],
            **({"momentum": group["momentum"]} if "momentum" in group else {}),
            "inputs": " x ".join(map(str, split.x_train.shape[1:])),
            "batch_size": recipe.batch_size,
            "apply_to": recipe.apply_to,
            "penalty": _penalty(recipe.unit, decay),
            **({"task": dataset.task_note} if dataset.task_note else {}),
            **further,
            "threads": recipe.threads,
            "seeds": n_seeds,
        },
        layers=outline(model, names),
        version=metadata.version("shrinkwise"),
    )


def _penalty(unit: str, decay: str) -> str:
    """Say what a strength does; under decoupled decay no term stands in the loss, and only its size is read in the unit."""
    formula = find_unit(unit).formula
    if decay == "coupled":
        return formula
    return f"{find_unit('adamw').formula}; λ is read as in {formula}, and there stands for lam = the factor of w in its gradient"
