"""A small classification problem that tests of live penalties train on, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from shrinkwise.seeding import isolated_rng, torch_generator


class Problem:
    """A model and its mean loss; each instance starts from the same weights and sees the same data.

    Attributes:
        model: A network with a norm, so that some parameters are free.
        n_steps: Full-batch steps taken by :meth:`train`.
    """

    def __init__(self, *, n_steps: int = 30, dtype: torch.dtype = torch.float64, wrap: Callable = lambda model: model) -> None:
        with isolated_rng("problem"):
            self.model = wrap(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)).to(dtype))
        generator = torch_generator("problem")
        self.x = torch.randn(40, 6, dtype=dtype, generator=generator)
        self.y = torch.randint(3, (40,), generator=generator)
        self.n_steps = n_steps

    @property
    def weights(self) -> list[nn.Parameter]:
        return [self.model[0].weight, self.model[3].weight]

    @property
    def vector(self) -> torch.Tensor:
        """All parameters in one vector."""
        return nn.utils.parameters_to_vector(self.model.parameters()).detach().clone()

    def loss(self, rows: slice = slice(None)) -> torch.Tensor:
        return nn.functional.cross_entropy(self.model(self.x[rows]), self.y[rows])

    def backward(self, optimizer: torch.optim.Optimizer, penalty: Callable = lambda: 0) -> torch.Tensor:
        """Leave the gradient of the penalised loss in ``grad`` and return that loss."""
        optimizer.zero_grad()
        loss = self.loss() + penalty()
        loss.backward()
        return loss.detach()

    def train(
        self, optimizer: torch.optim.Optimizer, penalty: Callable = lambda: 0, n_steps: int | None = None, **after
    ) -> torch.Tensor:
        """Train and return all parameters as one vector."""
        for _ in range(n_steps or self.n_steps):
            self.backward(optimizer, penalty)
            optimizer.step()
            for act in after.values():
                act()
        return self.vector


def reference(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return weights of somebody else's training, to stay near."""
    generator = torch_generator("reference")
    return {name: torch.randn(p.shape, dtype=p.dtype, generator=generator) for name, p in model.named_parameters()}


def zero_step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step with zero gradients."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def saved(*parts):
    """Return state dictionaries as a checkpoint would hold them."""
    return [copy.deepcopy(part.state_dict()) for part in parts]
