"""The optimisers of a fleet: torch's own rules, step by step (``torch.optim.SGD``, ``Adam``, ``AdamW``), on stacked weights.

Each knows the rule twice: by plain operators, with a rate and strength for each run, and by torch's fused kernel, which reads and
writes everything once and knows one rate for all runs of a block.
"""

from __future__ import annotations

import functools
import math
import warnings

import torch
from torch import Tensor

from shrinkwise.errors import ShrinkwiseWarning
from shrinkwise.experiments.engine.fleet.rates import Rates
from shrinkwise.experiments.engine.fleet.rules import Rule
from shrinkwise.experiments.engine.fleet.updates import TINY_MOMENTUM, Block, Blocking, Update, add_


class SGD(Update):
    """Stochastic gradient descent: ``v <- momentum·v + g``, then ``w <- w − lr·v``; Nesterov's form moves by ``g + momentum·v``."""

    def __init__(self, parameters: dict[str, Tensor], rates: Rates, rule: Rule, blocking: Blocking | None = None) -> None:
        self.momentum, self.is_nesterov = rule.momentum, rule.nesterov
        self.n_kept, self.tiny, self.shrinks_first = 1 if self.momentum else 0, (TINY_MOMENTUM,), rule.shrinks_first
        self.fuses = self.momentum > 0 and _is_there("_fused_sgd_")
        super().__init__(parameters, rates, blocking)

    def _descend(self, block: Block) -> None:
        if self.momentum:
            (velocity,) = block.kept
            velocity.mul_(self.momentum).add_(block.sink)
            if self.is_nesterov:
                block.sink.add_(velocity, alpha=self.momentum)
            else:
                add_(block.weight, velocity, block.lr, sign=-1)
                return
        add_(block.weight, block.sink, block.lr, sign=-1)

    def _descend_fused(self, block: Block, lr: float, lam: float) -> None:
        torch._fused_sgd_(
            [block.weight],
            [block.sink],
            list(block.kept),
            weight_decay=lam,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self.is_nesterov,
            maximize=False,
            is_first_step=False,
        )


class Adam(Update):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1), with torch's place for epsilon; AdamW is the same with decoupled decay."""

    n_kept = 2

    def __init__(self, parameters: dict[str, Tensor], rates: Rates, rule: Rule, blocking: Blocking | None = None) -> None:
        (self.beta1, self.beta2), self.eps, self.shrinks_first = rule.betas, rule.eps, rule.shrinks_first
        # What is divided by epsilon is to stay as small, and a root to be lost beside it.
        self.tiny = (min(TINY_MOMENTUM, 1e-12 * self.eps), min(1e-36, (1e-10 * self.eps) ** 2))
        self.fuses = _is_there("_fused_adam_")
        super().__init__(parameters, rates, blocking)

    def _descend(self, block: Block) -> None:
        mean, square = block.kept
        n = self.rates.step
        mean.lerp_(block.sink, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(block.sink, block.sink, value=1 - self.beta2)
        # The gradient is not needed any more: its place holds the root.
        root = torch.sqrt(square, out=block.sink).div_(math.sqrt(1 - self.beta2**n)).add_(self.eps)
        correction = 1 - self.beta1**n
        if isinstance(block.lr, float):
            block.weight.addcdiv_(mean, root, value=-block.lr / correction)
        else:
            block.weight.addcmul_(torch.div(mean, root, out=root), block.lr, value=-1 / correction)

    def _descend_fused(self, block: Block, lr: float, lam: float) -> None:
        mean, square = block.kept
        torch._fused_adam_(
            [block.weight],
            [block.sink],
            [mean],
            [square],
            [],
            [torch.tensor(float(self.rates.step))],
            lr=lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=lam,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


@functools.cache
def _is_there(kernel: str) -> bool:
    """Whether this torch has a fused kernel, which is no public name of it; said once where it has not."""
    is_there = hasattr(torch, kernel)
    if not is_there:
        said = f"torch {torch.__version__} has no {kernel}: fleets take plain operators in its place, right and somewhat slower."
        warnings.warn(said, ShrinkwiseWarning, stacklevel=2)
    return is_there
