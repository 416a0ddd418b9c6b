"""A small classifier to train in tests of what acts on a live optimiser, and hand-written loops to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shrinkwise.seeding import isolated_rng, torch_generator


class Problem:
    """A network with weights, biases and a norm, its data and its mean cross-entropy; every instance starts the same."""

    def __init__(self, dtype: torch.dtype = torch.float64, n_in: int = 6, width: int = 8) -> None:
        with isolated_rng("problem"):
            self.model: Any = nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.LayerNorm(width), nn.Linear(width, 3)).to(dtype)
        generator = torch_generator("problem")
        self.x = torch.randn(40, n_in, dtype=dtype, generator=generator)
        self.y = torch.randint(3, (40,), generator=generator)

    def loss(self, rows: slice = slice(None)) -> torch.Tensor:
        return nn.functional.cross_entropy(self.model(self.x[rows]), self.y[rows])

    def weights(self) -> torch.Tensor:
        """Return all parameters as one vector."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def train(problem: Problem, optimizer: torch.optim.Optimizer, n_steps: int = 12, **options: Any) -> torch.Tensor:
    """Take steps on the mean loss and return the weights.

    Args:
        problem: What is trained.
        optimizer: Of its parameters.
        n_steps: Number of steps.
        options: ``term``, a function that gives what is added to the loss; ``after_step``, a function called after each step.
    """
    term: Callable[[], Any] = options.get("term", lambda: 0)
    after_step: Callable[[], Any] = options.get("after_step", lambda: None)
    for _ in range(n_steps):
        optimizer.zero_grad()
        (problem.loss() + term()).backward()
        optimizer.step()
        after_step()
    return problem.weights()
