"""What the groups of an optimiser declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from shrinkwise.regularization.apply.optimizers import DECOUPLED_DECAY


@dataclass(frozen=True, eq=False)
class Group:
    """One parameter group.

    Attributes:
        optimizer: The optimiser that holds it.
        options: Its entries.
        label: How a listing calls it, such as ``AdamW[0]``.
    """

    optimizer: Optimizer
    options: dict[str, Any]
    label: str

    @property
    def lr(self) -> float | None:
        """The learning rate of this step; None where the group has none."""
        return _number(self.options.get("lr"))

    @property
    def peak_lr(self) -> float | None:
        """The highest learning rate that a schedule is known to reach."""
        return peak_lr(self.options)

    def strength(self, entry: str) -> float:
        """Return what the group declares under an entry of :attr:`entries`; 0 where it declares nothing."""
        return _number(self.options.get(entry)) or 0.0

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries that declare a decay: ``weight_decay``, ours, and ``lambd`` of optimisers that know it, such as ASGD."""
        own = ("lambd",) if "lambd" in self.optimizer.defaults else ()
        return ("weight_decay", DECOUPLED_DECAY, *own)

    @property
    def declared_shrink(self) -> float | None:
        """The fraction of a weight that lr times the declared decay would remove at one step; None where there is no lr."""
        decay = sum(map(self.strength, self.entries))
        if not decay:
            return 0.0
        return None if self.lr is None else self.lr * decay


def groups_of_each(optimizers: Sequence[Optimizer]) -> dict[int, list[Group]]:
    """Return every group that holds a parameter, once for each time it does, by the identity of the parameter."""
    held: dict[int, list[Group]] = {}
    names = [type(optimizer).__name__ for optimizer in optimizers]
    for position, (name, optimizer) in enumerate(zip(names, optimizers, strict=True)):
        label = f"{name} {names[: position + 1].count(name)}" if names.count(name) > 1 else name
        for i, options in enumerate(optimizer.param_groups):
            group = Group(optimizer, options, f"{label}[{i}]")
            for parameter in options["params"]:
                held.setdefault(id(parameter), []).append(group)
    return held


def peak_lr(options: dict[str, Any]) -> float | None:
    """Return the highest learning rate of a group that its entries tell of, as schedulers leave them there."""
    known = [_number(options.get(name)) for name in ("lr", "initial_lr", "max_lr")]
    return max((lr for lr in known if lr is not None), default=None)


def _number(value: Any) -> float | None:
    """Read a number or a tensor of one element."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_meta else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
