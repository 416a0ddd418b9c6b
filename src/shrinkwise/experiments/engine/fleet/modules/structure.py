"""Which networks one fleet can hold: what of them is trained, and whether one can stand for another."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shrinkwise.experiments.engine.fleet.modules.alike import same_structure
from shrinkwise.experiments.engine.fleet.modules.functional import Batch, Functional, Together, mappable
from shrinkwise.experiments.engine.fleet.modules.masks import layers_of
from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.experiments.engine.metrics import criterion
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.regularization.dropout import Dropout, dropouts
from shrinkwise.seeding import isolated_rng

__all__ = ["same_structure", "trained_names"]

_ROWS = 8
_RUNS = 2
_TOLERANCE = 1e-3
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def trained_names(recipe: Recipe, live: LiveRun) -> tuple[str, ...] | str:
    """Return the names of the parameters of a run's network that get a gradient, or say why no fleet can hold it.

    A copy of the network is tried on its first rows, alone and in a stack. What a fleet cannot do for a run: draw from the global
    random generators, keep anything from step to step that is neither parameter nor buffer, choose its way by the values of
    tensors.

    Args:
        recipe: How the run is trained.
        live: The run before its first step; left as it is.
    """
    model = live.model
    if reason := _outlandish(model):
        return reason
    try:
        with isolated_rng("trial", live.key.seed):
            return _tried(recipe, live)
    except Exception as error:  # noqa: BLE001  anything may come out of a user's network
        return f"{type(model).__name__} cannot be stacked: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    finally:
        # A function that the network holds is not copied, and may have reached the network itself.
        model.zero_grad(set_to_none=True)


def _outlandish(model: nn.Module) -> str:
    """Say what of a network, if anything, shows without a trial that it is to stay alone."""
    parameters: list[Any] = list(model.parameters())
    for parameter in parameters:
        if is_lazy(parameter):
            return "the network has parameters that have no shape yet"
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return "a parameter of the network has hooks"
    for module in model.modules():
        if any(getattr(module, name, None) for name in _HOOKS):
            return f"a {type(module).__name__} of the network has hooks"
        if isinstance(module, Dropout) and type(module) is not Dropout:
            return f"{type(module).__name__} is a dropout of its own kind"
        if {"ScriptModule", "OptimizedModule"} & {kind.__name__ for kind in type(module).__mro__}:
            return "the network is compiled"
    return ""


def _tried(recipe: Recipe, live: LiveRun) -> tuple[str, ...] | str:
    x, y = (rows[: min(_ROWS, recipe.batch_size)] for rows in (live.x, live.y))
    before, model = (copy.deepcopy(live.model).train() for _ in range(2))
    for dropout in dropouts(model):
        dropout.step = dropout.every
    start = _tensors(model)
    states = _generator_states()
    criterion(recipe.task, model(x), y).mean().backward()
    after = _tensors(model)
    trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    with torch.no_grad(), mappable():
        outputs = model.eval()(x)
    if any(parameter.grad is not None for parameter in live.model.parameters()):
        return "the network computes with parts that a copy of it does not have"
    if not _all_equal(_generator_states(), states):
        return (
            "the network draws random numbers that are not the experiment's own; shrinkwise.Dropout draws such as a fleet can draw"
        )
    if not same_structure(before, model.train()):
        return "the network changes, as it computes, what is neither a parameter nor a buffer, or holds what cannot be compared"
    if any(not torch.equal(after[name], start[name]) for name in trained):
        return "the network changes its parameters itself"
    if any(not _equal(tensor, after[name]) for name, tensor in _tensors(model).items()):
        return "the network changes its buffers in evaluation too"
    if not all(grad.layout is torch.strided for grad in trained.values()):
        return "the network has sparse gradients"
    if not trained:
        return "no parameter of the network gets a gradient"
    alone = {**trained, **{f"buffer {name}": tensor for name, tensor in after.items() if name not in trained}, "outputs": outputs}
    return tuple(trained) if _agrees(recipe, model, start, (x, y), alone) else "the network computes something else in a stack"


def _agrees(
    recipe: Recipe, model: nn.Module, start: dict[str, Tensor], rows: tuple[Tensor, Tensor], alone: dict[str, Tensor]
) -> bool:
    """Whether a stack of copies of a network does what it did alone.

    Args:
        recipe: How it is trained.
        model: The network, after its trial.
        start: Its tensors before that.
        rows: What it was tried on.
        alone: What came of it: gradients by name, ``outputs``, and every other tensor under ``buffer`` and its name.
    """
    state = {name: torch.stack([tensor] * _RUNS) for name, tensor in start.items()}
    parameters = {name: state.pop(name) for name in list(state) if name in alone}
    functional = Functional(model, recipe.task)
    draws = tuple(layer.draws(layer.form.every, 1)[0] for layer in layers_of([model] * _RUNS, rows[0].device))
    x, y = (torch.stack([each] * _RUNS) for each in rows)
    found, left = functional.gradients(parameters, state, Batch(x, y, draws, Together.OWN))
    gradients = dict(zip(parameters, found, strict=True))
    state |= dict(zip(functional.probe({}, x).changed, left, strict=True))
    stacked = {**gradients, **{f"buffer {name}": tensor for name, tensor in state.items()}}
    # Some gradients are nothing but rounding, a bias's before a BatchNorm, say: what counts as small, all gradients say together.
    largest = max(float(alone[name].norm()) for name in gradients)
    # Every run is looked at: what torch maps wrongly may be right in the first.
    is_right = all(
        _close(mine, alone[name], largest if name in gradients else 0.0) for name, tensor in stacked.items() for mine in tensor
    )
    outputs = functional.outputs({**parameters, **state}, rows[0], Together.SHARED)
    return is_right and all(_close(mine, alone["outputs"]) for mine in outputs)


def _close(one: Tensor, other: Tensor, scale: float = 0.0) -> bool:
    one, other = one.double(), other.double()
    return bool((one - other).norm() <= _TOLERANCE * max(scale, float(other.norm())))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or torch.equal(one, other)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    held: Iterator[tuple[str, Tensor]] = iter((*model.named_parameters(), *model.named_buffers()))
    return {name: tensor.detach().clone() for name, tensor in held}


def _generator_states() -> list[Any]:
    devices = [torch.cuda.get_rng_state()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    return [torch.get_rng_state(), *devices, torch.from_numpy(np.array(words)), (name, *rest), random.getstate()]


def _all_equal(ones: list[Any], others: list[Any]) -> bool:
    return all(
        torch.equal(one, other) if isinstance(one, Tensor) else one == other for one, other in zip(ones, others, strict=True)
    )
