"""From a recipe to the network of one run."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.records import Variant
from shrinkwise.seeding import isolated_rng


def build_model(recipe: Recipe, variant: Variant, seed: int, rows: Tensor) -> nn.Module:
    """Return a fresh network; its weights hang on the seed alone, so variants of one shape start alike.

    Lazy layers see a few rows, so that they have their shape before anybody asks for their parameters.

    Args:
        recipe: Whose ``model`` makes it.
        variant: What it is made for.
        seed: Seed of the run.
        rows: A few training rows, shape ``(batch, ...)``.
    """
    with isolated_rng("weights", seed):
        model = recipe.model(variant)
        if any(is_lazy(parameter) for parameter in model.parameters()):
            model.eval()
            with torch.no_grad():
                model(rows)
    return model
