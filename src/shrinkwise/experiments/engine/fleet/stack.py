"""The weights of several networks of one structure, stacked along a leading axis ``run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
"""Name of a parameter or buffer -> tensor of shape ``(run, ...)``."""


REST = " (rest)"
"""What stands behind the name of a weight for that part of it which is kept apart."""


class Stack:
    """Parameters and buffers of the networks of a fleet, and of each the weights of its best epoch.

    Args:
        models: Networks of one structure.
        trained: Names of the parameters that are trained.

    Attributes:
        parameters: What is trained, each contiguous, of shape ``(run, ...)``.
        buffers: Everything else that a network has: buffers, frozen parameters.
        starts: Weights that nothing but their decay ever moves, as they were at the start. All of a run shrink alike, so that their
            place among the parameters has one number a run, ``(run, 1, ..., 1)``: the share that is left of them.
    """

    def __init__(self, models: Sequence[nn.Module], trained: Sequence[str]) -> None:
        held = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
        stacked = {name: torch.stack([each[name].detach() for each in held]) for name in held[0]}
        self.parameters = {name: stacked.pop(name) for name in trained}
        self.buffers = stacked
        self.starts: dict[str, Tensor] = {}
        self.best = {name: tensor.clone() for name, tensor in self.state.items()}

    def cut(self, split: Callable[[State], dict[str, Tensor]]) -> None:
        """Keep parts of weights apart."""
        self.parameters = split(self.parameters)
        self.best = {name: tensor.clone() for name, tensor in self.state.items()}

    def only_shrinks(self, name: str) -> None:
        """Keep of a weight no more than the share that is left of it."""
        start = self.starts[name] = self.parameters[name]
        self.parameters[name] = start.new_ones(len(start), *(1,) * (start.ndim - 1))

    @property
    def state(self) -> dict[str, Tensor]:
        """All tensors by name."""
        shrunk = {name: start * self.parameters[name] for name, start in self.starts.items()}
        return {**self.parameters, **self.buffers, **shrunk}

    def keep_best(self, runs: Sequence[int], state: State) -> None:
        """Take the weights of some runs for their best, out of the present ones of all."""
        n_runs = next(iter(self.best.values())).shape[0]
        rows = torch.tensor(runs, dtype=torch.int64)
        for name, tensor in state.items():
            if len(runs) == n_runs:
                self.best[name].copy_(tensor)
            elif runs:
                on = rows.to(tensor.device)
                self.best[name].index_copy_(0, on, tensor.index_select(0, on))

    def keep(self, runs: Sequence[int]) -> None:
        """Let all but some runs leave; the others close up in the order given."""
        held = self.parameters, self.buffers, self.starts, self.best
        self.parameters, self.buffers, self.starts, self.best = (taken(tensors, runs) for tensors in held)

    def norms(self, names: Sequence[str]) -> dict[str, list[float]]:
        """Return the Euclidean norm of each run's weight, summed in float64, by name."""
        state = self.state
        parts = {name: [state[part] for part in (name, name + REST) if part in state] for name in names}
        return {name: torch.stack([_norm(part) for part in each]).norm(dim=0).tolist() for name, each in parts.items()}


def _norm(stacked: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(stacked.flatten(1), dim=1, dtype=torch.float64)
    return norm


def taken(tensors: State, runs: Sequence[int]) -> dict[str, Tensor]:
    """Return the tensors of some runs, in the order given."""
    rows = torch.tensor(runs, dtype=torch.int64)
    return {name: tensor.index_select(0, rows.to(tensor.device)) for name, tensor in tensors.items()}


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """Return one number a run, of a shape that broadcasts against ``like``, ``(run, 1, ..., 1)``, with its dtype and device."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *(1,) * (like.ndim - 1))
