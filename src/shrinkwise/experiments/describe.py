"""What an experiment is, in the words of a page: read off the data, the network and the optimiser that were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from shrinkwise.regularization.strength.schedules import InEpochs, Product, Schedule

_FORMULAS = {
    "l1": "mean loss + λ·Σ|w|",
    "elastic_net": "mean loss + λ·(½·Σ|w| + ¼·Σw²)",
    "group_lasso": "mean loss + λ·Σ √size·‖w of a unit‖",
    "l2_sp": "mean loss + λ/2·Σ(w − w at the start)²",
    "max_norm": "‖incoming weights of a unit‖ ≤ limit",
}
"""What a number means under each penalty beside L2."""


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
            **{kind: _FORMULAS[kind] for kind in made.penalties},
            **_over_time(recipe),
            **({"task": dataset.task_note} if dataset.task_note else {}),
            **further,
            "threads": recipe.threads,
            "seeds": n_seeds,
        },
        layers=outline(model, names),
        version=metadata.version("shrinkwise"),
    )


def by_means(study: Study, means: Mapping[str, Any]) -> Study:
    """Return a study that says by the means of which plan its runs were trained; the single loop and the CPU go without saying.

    So does a number of processes that was not chosen with them. A user's function trains by means of its own: nothing is said.
    """
    if means["engine"] not in ("single", "fleet"):
        return study
    found: dict[str, Any] = {"threads": means["threads"]}
    if means["engine"] == "fleet":
        found["engine"] = f"fleets of at most {means['fleet_size']} runs"
    if means.get("jobs"):
        found["processes"] = means["jobs"]
    if means.get("device", "cpu") != "cpu":
        found["device"] = means["device"]
    return replace(study, settings={**study.settings, **found})


def _over_time(recipe: Recipe) -> dict[str, Any]:
    """Return what does not stay the same, or does not last, over a run, by name; nothing where all does."""
    found = {"schedule": _in_words(recipe.schedule), "lr_schedule": _in_words(recipe.lr_schedule), "patience": recipe.patience}
    return {name: value for name, value in found.items() if value is not None}


def _in_words(schedule: Schedule | None) -> str | None:
    """Write a schedule for a page: somebody's own by its name."""
    if isinstance(schedule, Product):
        return " * ".join(str(_in_words(part)) for part in schedule.parts)
    if isinstance(schedule, InEpochs):
        return repr(schedule.schedule).replace("n_steps=", "n_epochs=")
    is_ours = type(schedule).__module__.startswith("shrinkwise.")
    return None if schedule is None else repr(schedule) if is_ours else type(schedule).__name__


def _penalty(unit: str, decay: str) -> str:
    """Say what a strength does; under decoupled decay no term stands in the loss, and only its size is read in the unit."""
    formula = find_unit(unit).formula
    if decay == "coupled":
        return formula
    return f"{find_unit('adamw').formula}; λ is read as in {formula}, and there stands for lam = the factor of w in its gradient"
