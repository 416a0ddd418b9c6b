"""How many steps one run takes, and its schedules counted in them."""

from __future__ import annotations

from dataclasses import replace

import torch

from shrinkwise.experiments.engine.order import batches
from shrinkwise.experiments.engine.recipe import Recipe


def steps_per_epoch(recipe: Recipe, n_rows: int) -> int:
    """Return the optimiser steps of an epoch of so many training rows."""
    return len(batches(torch.arange(n_rows), recipe.batch_size))


def paced(recipe: Recipe, n_rows: int) -> Recipe:
    """Return a recipe whose schedules count the steps of a run with so many training rows.

    They differ from run to run only where a schedule counts epochs and runs have other numbers of rows.
    """
    n = steps_per_epoch(recipe, n_rows)
    return replace(
        recipe,
        schedule=recipe.schedule and recipe.schedule.in_steps(n),
        lr_schedule=recipe.lr_schedule and recipe.lr_schedule.in_steps(n),
    )
