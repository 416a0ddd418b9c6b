"""A network as a function of its tensors, for one run or mapped over several by :mod:`torch.func`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from shrinkwise.experiments.engine.fleet.modules.masks import Draw, replace_dropouts
from shrinkwise.experiments.engine.fleet.modules.probe import Probed, channels_last, probed
from shrinkwise.experiments.engine.fleet.modules.traced import Traced
from shrinkwise.experiments.engine.fleet.stack import State
from shrinkwise.experiments.engine.metrics import criterion

Draws = tuple[Draw | None, ...]
"""What each dropout has to know of a step; None for one that does not act."""


class Together(Enum):
    """How the runs of one pass are together: a single run without an axis of runs, several on one batch, or each on its own."""

    ALONE = "alone"
    SHARED = "shared"
    OWN = "own"


@dataclass(frozen=True)
class Batch:
    """What one pass is for, beside the weights.

    Attributes:
        x: Inputs, ``(batch, ...)``; ``(run, batch, ...)`` where each run has its own.
        y: Targets, ``(run, batch)``; ``(batch,)`` for a run alone.
        draws: What each dropout has to know; keys are ``()``, or ``(run,)`` where each run has its own inputs.
        together: How the runs are together.
    """

    x: Tensor
    y: Tensor
    draws: Draws
    together: Together


class Functional:
    """What a network computes, with its tensors and its dropouts' draws as arguments.

    Args:
        model: The network of any run; a copy of it is kept, without its weights.
        task: ``classification`` or ``regression``.
    """

    def __init__(self, model: nn.Module, task: str) -> None:
        self.task, self.name = task, type(model).__name__
        self._template, self._dropouts = replace_dropouts(copy.deepcopy(model))
        self._probed: Probed | None = None
        self._passes: dict[tuple[Any, ...], Traced] = {}
        _blank(self._template)

    def probe(self, state: State, x: Tensor) -> Probed:
        """Return what one forward pass in train mode, of one run on some rows, tells: which tensors it changes, how large it is."""
        if self._probed is None:
            self._template.train()
            with self._drawing([None] * len(self._dropouts)):
                self._probed = probed(lambda held, x: functional_call(self._template, held, (x,)), state, x[:2])
        return self._probed

    def gradients(self, parameters: State, others: State, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """Return the gradients of each run's mean loss, and what the forward pass leaves in the tensors that it changes.

        Args:
            parameters: What is trained, ``(run, ...)``, or without an axis of runs for a run alone; read only.
            others: All other tensors of the networks, likewise.
            batch: Rows, and what else the step needs.

        Returns:
            Gradients in the order of ``parameters``, and new values in the order of :attr:`Probed.changed`.
        """
        alone = batch.together is Together.ALONE
        own_rows = batch.x[0] if batch.together is Together.OWN else batch.x
        changed = self.probe(
            {**parameters, **others} if alone else {n: t[0] for n, t in {**parameters, **others}.items()}, own_rows
        ).changed
        acting = tuple(draw is not None for draw in batch.draws)
        key = (batch.together, acting, batch.x.shape, batch.x.dtype, batch.y.shape)
        if key not in self._passes:
            self._passes[key] = Traced(self._gradient(tuple(parameters), tuple(others), changed, acting, batch.together))
        self._template.train()
        drawn = [part for draw in batch.draws if draw is not None for part in draw]
        found = self._passes[key](batch.x, batch.y, *drawn, *parameters.values(), *others.values())
        return found[: len(parameters)], found[len(parameters) :]

    def outputs(self, state: State, x: Tensor, together: Together) -> Any:
        """Return what networks give in eval mode for rows that they share, ``(run, row, ...)``; ``(row, ...)`` for a run alone."""
        self._template.eval()
        with torch.no_grad(), mappable():
            if together is Together.ALONE:
                order = self._order()
                return functional_call(self._template, {name: order(tensor) for name, tensor in state.items()}, (order(x),))
            return vmap(lambda mine, x: functional_call(self._template, mine, (x,)), in_dims=(0, None))(state, x)

    def _gradient(
        self, trained: Sequence[str], fixed: Sequence[str], changed: Sequence[str], acting: Sequence[bool], together: Together
    ) -> Callable[..., list[Tensor]]:
        """Make the function from rows, draws and weights to gradients and changed tensors, all in a row."""
        n_drawn = len(Draw._fields) * sum(acting)

        def loss(x: Tensor, y: Tensor, *tensors: Tensor) -> tuple[Tensor, list[Tensor]]:
            parts = iter(tensors[:n_drawn])
            draws = [Draw(*(next(parts) for _ in Draw._fields)) if acts else None for acts in acting]
            held = dict(zip((*trained, *fixed), tensors[n_drawn:], strict=True))
            held |= {name: held[name].clone() for name in changed}
            with self._drawing(draws):
                outputs = functional_call(self._template, held, (x,))
            return criterion(self.task, outputs, y).mean(), [held[name].detach() for name in changed]

        order = self._order() if together is Together.ALONE else _as_it_is
        rows = 0 if together is Together.OWN else None
        over = (rows, 0, *(rows, 0, 0) * sum(acting), *(0,) * (len(trained) + len(fixed)))

        def gradient(x: Tensor, y: Tensor, *tensors: Tensor) -> list[Tensor]:
            weights = [order(tensor.detach()).requires_grad_() for tensor in tensors[n_drawn : n_drawn + len(trained)]]
            given = (order(x), y, *tensors[:n_drawn], *weights, *tensors[n_drawn + len(trained) :])
            with torch.enable_grad():
                if together is Together.ALONE:
                    value, left = loss(*given)
                else:
                    with mappable():
                        values, left = vmap(loss, in_dims=over)(*given)
                    value = values.sum()
                return [*torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True), *left]

        return gradient

    def _order(self) -> Callable[[Tensor], Tensor]:
        """Return what puts the tensors of a run alone into the order in which its network is fastest."""
        return channels_last if self._probed is not None and self._probed.takes_channels_last else _as_it_is

    @contextmanager
    def _drawing(self, draws: Sequence[Draw | None]) -> Iterator[None]:
        for dropout, draw in zip(self._dropouts, draws, strict=True):
            dropout.draw = draw
        try:
            yield
        finally:
            for dropout in self._dropouts:
                dropout.draw = None


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _blank(model: nn.Module) -> None:
    """Fill a model's tensors with what spoils every result, so that a forward pass that gets round its arguments is found out."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0)


@contextmanager
def mappable() -> Iterator[None]:
    """Let attention be computed by operators that can be mapped, and do not warn of others that are mapped one by one."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
