"""From a recipe to the network of one run, and what it predicts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shrinkwise.errors import ModelError
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.records import Variant
from shrinkwise.seeding import isolated_rng

EVALUATION_ROWS = 512
"""Rows that are evaluated at once: enough to keep the processor busy, and few enough for what their layers give to stay in its
caches; in one go, a convolutional network takes half as long again."""


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
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"model(variant) gives {type(model).__name__}", "it is to give a network", "return a torch.nn.Module from it"
            )
        if any(is_lazy(parameter) for parameter in model.parameters()):
            model.eval()
            with torch.no_grad():
                model(rows)
    return model


def predict(recipe: Recipe, model: nn.Module, rows: Tensor) -> Tensor:
    """Return a network's outputs in eval mode, without a graph, shape ``(batch, n_outputs)`` or, for one output, ``(batch,)``.

    Raises:
        ModelError: They have another shape.
    """
    model.eval()
    with torch.no_grad():
        outputs: Any = model(rows)
    return fitting(recipe, type(model).__name__, outputs, len(rows))


def fitting(recipe: Recipe, name: str, outputs: Any, n_rows: int) -> Tensor:
    """Return what a network gave for so many rows, where it fits the task.

    Args:
        recipe: What it is trained for.
        name: What an error calls it.
        outputs: What it gave.
        n_rows: Rows that it gave them for.

    Raises:
        ModelError: They have another shape than :func:`predict` says, or are no tensor.
    """
    if not isinstance(outputs, Tensor):
        raise ModelError(f"{name} gives {type(outputs).__name__}", "logits or predictions are read from it", "return one tensor")
    n = recipe.n_outputs
    if outputs.shape == (n_rows, n) or (n == 1 and outputs.shape == (n_rows,)):
        return outputs
    raise ModelError(
        f"{name} gives outputs of shape (batch, {', '.join(map(str, outputs.shape[1:]))})",
        f"these data need outputs of shape (batch, {n})",
        f"let the last layer give {n} number{'s' if n > 1 else ''} a row",
    )
