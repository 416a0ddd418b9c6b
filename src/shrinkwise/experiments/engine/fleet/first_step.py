"""Whether a stacked network does what each network does alone: seen on the gradients of the first batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from shrinkwise.experiments.engine.fleet.training import Fleet
from shrinkwise.experiments.engine.fleet.updates import Still
from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.experiments.engine.metrics import criterion
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.regularization.dropout import set_step


def agrees(recipe: Recipe, fleet: Fleet, lives: Sequence[LiveRun]) -> bool:
    """Compare the first gradients of the first and the last run with their own, and put everything back."""
    buffers = {name: tensor.clone() for name, tensor in fleet.stack.buffers.items()}
    chunk, still = next(fleet.feed.epoch(1)), Still(fleet.stack.parameters, fleet.update.rates)
    fleet.passes.begin(chunk, 1)
    with torch.no_grad():
        fleet.passes.add_gradients(0, still)
    is_right = True
    for place, group in ((0, 0), (len(lives) - 1, len(fleet.feed.groups) - 1)):
        model = copy.deepcopy(lives[place].model).train()
        set_step(model, 1)
        criterion(recipe.task, model(chunk.x[0, group]), chunk.y[0, place]).mean().backward()
        for name, sink in still.sink.items():
            own = model.get_parameter(name).grad
            is_right &= own is not None and torch.allclose(sink[place], own, rtol=1e-2, atol=1e-4 * float(own.abs().max()))
    for name, tensor in buffers.items():
        fleet.stack.buffers[name].copy_(tensor)
    return is_right
