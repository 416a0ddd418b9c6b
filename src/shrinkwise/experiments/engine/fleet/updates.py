"""What moves a fleet's weights, on stacks, with each run's own learning rate and strength.

A large weight is moved block by block, a run or a few for each thread, while what its gradient left in the cache is still there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.rates import Rates
from shrinkwise.experiments.engine.fleet.stack import column

_BLOCK_BYTES = 2**19
"""Weights that a thread moves at once: with gradient and momentum they stay within the cache of a core."""

_SWEEP_EVERY = 256
"""Steps after which what is too small to matter is set to zero."""
TINY_WEIGHT, TINY_MOMENTUM = 1e-30, 1e-20
"""What is too small to be seen in any output, and in any weight."""

Factor = float | Tensor
"""One number for all runs of a block, or a column with one for each."""


@dataclass(eq=False, slots=True)
class Block:
    """A weight of a few consecutive runs, and what moves it.

    Attributes:
        runs: Which of the runs they are: first, and one past the last.
        weight: Their weights, shape ``(run, ...)``.
        sink: Where their gradients go.
        kept: What the optimiser keeps of them from step to step.
        decays: Whether they move without a gradient, too.
        lr: Learning rate of this step.
        lam: Strength of coupled decay; None where there is none.
        share: What decoupled decay takes off, likewise.
    """

    runs: tuple[int, int]
    weight: Tensor
    sink: Tensor
    kept: tuple[Tensor, ...]
    decays: bool
    lr: Factor = 0.0
    lam: Factor | None = None
    share: Factor | None = None


@dataclass(frozen=True)
class Blocking:
    """How stacked weights are cut into blocks.

    Attributes:
        threads: Threads that move a block.
        abreast: Of how many runs a block had best be a multiple; a multiple of the threads.
        has_one_sink: Whether all blocks of a weight have one place for their gradients, which then stays in the cache: for whoever
            fills it block by block, and lets each block move before the next.
    """

    threads: int = 1
    abreast: int = 1
    has_one_sink: bool = False

    def size(self, n_bytes: int) -> int:
        """Return how many runs a block has whose weights take so many bytes a run.

        >>> Blocking(threads=2, abreast=16).size(80_000), Blocking(threads=2, abreast=16).size(400_000)
        (16, 2)
        """
        size = self.threads * max(1, _BLOCK_BYTES // max(1, n_bytes))
        return self.abreast * round(size / self.abreast) or size


class Update(ABC):
    """Moves a fleet's weights by gradients that somebody else adds to its sink.

    Args:
        parameters: The stacked weights.
        rates: How fast and how strongly each run's are moved.
        blocking: How they are cut into blocks.

    Attributes:
        sink: Where the gradients of a step go, by parameter; where it is shared, the place of one block.
        blocks: Parameter -> its blocks, in the order of the runs.
        fuses: Whether there is a kernel that does a whole step on a CPU in one pass.
    """

    n_kept: int = 0
    tiny: tuple[float, ...] = ()
    shrinks_first: bool = False
    fuses: bool = False

    def __init__(self, parameters: dict[str, Tensor], rates: Rates, blocking: Blocking | None = None) -> None:
        self.parameters, self.rates, self.blocking = parameters, rates, blocking or Blocking()
        self.kept = {name: tuple(torch.zeros_like(weight) for _ in range(self.n_kept)) for name, weight in parameters.items()}
        self._cut()

    def begin_step(self) -> None:
        """Go on to the next step."""
        if self.rates.begin_step():
            self._set_factors()
        if self.rates.step % _SWEEP_EVERY == 0:
            self._sweep()

    def put(self, gradients: Sequence[Tensor], runs: slice | int = slice(None)) -> None:
        """Take the gradients of some runs, in the order of the parameters."""
        torch._foreach_copy_([sink[runs] for sink in self.sink.values()], list(gradients))

    def move_all(self) -> None:
        """Move all weights."""
        for name, blocks in self.blocks.items():
            for block in blocks:
                self.move(name, block)

    def move(self, name: str, block: Block) -> None:
        """Move the weights of a block, whose gradients are in the sink."""
        if self.shrinks_first:
            _shrink_(block)
        self.rates.add_penalties(name, block.weight, block.sink)
        if not self.shrinks_first:
            _shrink_(block)
        lr, lam = block.lr, block.lam
        # A fused kernel reads and writes everything once, and knows one rate and one strength at a time.
        is_fused = self.fuses and block.weight.is_cpu and isinstance(lr, float)
        if lam is not None and not (is_fused and isinstance(lam, float)):
            add_(block.sink, block.weight, lam)
            lam = None
        if is_fused:
            self._descend_fused(block, cast(float, lr), lam or 0.0)
        else:
            self._descend(block)

    def move_without_gradient(self, name: str) -> None:
        """Take a step of a weight whose gradient is zero."""
        for block in self.blocks.get(name, ()):
            # One without decay has never been given a momentum.
            if block.decays:
                block.sink.zero_()
                self.move(name, block)

    def keep(self, parameters: dict[str, Tensor], runs: Sequence[int], blocking: Blocking) -> None:
        """Let all but some runs leave; the weights of those that stay are given, and how they are cut."""
        rows = list(runs)
        self.parameters, self.blocking = parameters, blocking
        self.kept = {name: tuple(tensor[rows] for tensor in tensors) for name, tensors in self.kept.items()}
        self.rates.keep(runs)
        self._cut()

    def _sweep(self) -> None:
        """Set to zero what has decayed to nothing.

        The momentum of a weight whose input is hardly ever there, and the weights of a network that has collapsed, would go on
        through all numbers below the smallest normal one, for each of which a processor takes a hundred times as long.
        """
        for name, weight in self.parameters.items():
            for tensor, tiny in zip((weight, *self.kept[name]), (TINY_WEIGHT, *self.tiny), strict=False):
                tensor.masked_fill_(tensor.abs() < tiny, 0)

    @abstractmethod
    def _descend(self, block: Block) -> None:
        """Move the weights by what is in the sink."""

    def _descend_fused(self, block: Block, lr: float, lam: float) -> None:
        """Move them in one pass by the sink and coupled decay; called where :attr:`fuses` says that there is one."""
        raise NotImplementedError

    def _cut(self) -> None:
        self.sink: dict[str, Tensor] = {}
        self.blocks: dict[str, list[Block]] = {}
        for name, weight in self.parameters.items():
            n_runs, decays = weight.shape[0], self.rates.decays(name)
            # Penalties beside L2 know the whole stack. A GPU has no cache that blocks would fit, only calls that they would cost.
            is_whole = self.rates.has_penalties(name) or weight.device.type != "cpu"
            size = n_runs if is_whole else min(n_runs, self.blocking.size(weight[0].nbytes))
            has_one_sink = self.blocking.has_one_sink
            sink = self.sink[name] = torch.zeros_like(weight[:size] if has_one_sink else weight)
            self.blocks[name] = [
                Block(
                    (begin, min(begin + size, n_runs)),
                    weight[begin : begin + size],
                    sink[: min(size, n_runs - begin)] if has_one_sink else sink[begin : begin + size],
                    tuple(tensor[begin : begin + size] for tensor in self.kept[name]),
                    any(decays[begin : begin + size]),
                )
                for begin in range(0, n_runs, size)
            ]
        self._set_factors()

    def _set_factors(self) -> None:
        for name, blocks in self.blocks.items():
            for block in blocks:
                begin, end = block.runs
                lr = _factor(self.rates.lr[name][begin:end], block.weight)
                block.lr = 0.0 if lr is None else lr
                block.lam = _factor(self.rates.lam[name][begin:end], block.weight)
                block.share = _factor(self.rates.share[name][begin:end], block.weight)


class Still(Update):
    """Moves nothing: gradients stay in the sink, to be looked at."""

    def move(self, name: str, block: Block) -> None:
        """Leave the weights as they are."""

    def _descend(self, block: Block) -> None:
        """Leave the weights as they are."""


def _shrink_(block: Block) -> None:
    """Let decoupled decay act on the weights alone."""
    if block.share is not None:
        block.weight.mul_(1 - block.share)


def _factor(values: Sequence[float], like: Tensor) -> Factor | None:
    """Return what a block is multiplied with; None where that is 0 in every run."""
    if not any(values):
        return None
    return values[0] if len(set(values)) == 1 else column(values, like)


def add_(target: Tensor, term: Tensor, by: Factor, sign: int = 1) -> None:
    """Add a multiple of ``term`` in place."""
    if isinstance(by, Tensor):
        target.addcmul_(term, by, value=sign)
    else:
        target.add_(term, alpha=sign * by)
