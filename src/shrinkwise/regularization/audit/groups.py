"""What the groups of an optimiser declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

DECOUPLED = "decoupled_decay"
"""The entry of a group in which our ``decay_decoupled`` keeps the decay that it took over."""


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

    def strength(self, entry: str) -> float:
        """Return what the group declares under ``weight_decay`` or ``decoupled_decay``; 0 where it declares nothing."""
        return _number(self.options.get(entry)) or 0.0

    @property
    def declared_shrink(self) -> float | None:
        """The fraction of a weight that lr times the declared decay would remove at one step; None where there is no lr."""
        decay = self.strength("weight_decay") + self.strength(DECOUPLED)
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


def step_hooks(optimizer: Optimizer) -> list[Any]:
    """Return the hooks that an optimiser's step runs before and after itself."""
    return [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]


def _number(value: Any) -> float | None:
    """Read a number or a tensor of one element."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_meta else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
