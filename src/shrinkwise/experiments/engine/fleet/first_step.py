"""Whether a stacked network does what each network does alone: seen on the gradients of the first batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.training import Fleet
from shrinkwise.experiments.engine.fleet.updates import Still
from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.experiments.engine.metrics import criterion
from shrinkwise.experiments.engine.order import batches, order
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.regularization.dropout import set_step

_TOLERANCE = 0.05
"""Share of the gradient's norm by which a stack may differ: a network that is another one differs by far more."""


def agrees(recipe: Recipe, fleet: Fleet, lives: Sequence[LiveRun]) -> bool:
    """Compare the first gradients of the first and the last run with their own, and put everything back."""
    buffers = {name: tensor.clone() for name, tensor in fleet.stack.buffers.items()}
    chunk, still = next(fleet.feed.epoch(1)), Still(fleet.stack.parameters, fleet.update.rates)
    fleet.passes.begin(chunk, 1)
    with torch.no_grad():
        fleet.passes.add_gradients(0, still)
    found = fleet.join(still.sink)
    is_right = all(_is_own(recipe, lives[place], {name: sink[place] for name, sink in found.items()}) for place in (0, -1))
    for name, tensor in buffers.items():
        fleet.stack.buffers[name].copy_(tensor)
    return is_right


def _is_own(recipe: Recipe, live: LiveRun, found: Mapping[str, Tensor]) -> bool:
    """Whether gradients are those that a run's own network has on its first batch."""
    model = copy.deepcopy(live.model).train()
    set_step(model, 1)
    rows = batches(order(live.key.seed, 1, len(live.y)), recipe.batch_size)[0].to(live.y.device)
    criterion(recipe.task, model(live.x[rows]), live.y[rows]).mean().backward()
    own = {name: model.get_parameter(name).grad for name in found}
    if any(gradient is None for gradient in own.values()):
        return False
    # As a whole: that of a bias in front of a batch norm is nothing but rounding, and where a pool meets equal values, as in the
    # empty part of an image, rounding decides to which of them the gradient goes.
    wanted = torch.cat([gradient.flatten() for gradient in own.values() if gradient is not None])
    given = torch.cat([found[name].flatten() for name in own])
    if not wanted.isfinite().all():
        return True
    return bool((given - wanted).norm() <= _TOLERANCE * wanted.norm())
