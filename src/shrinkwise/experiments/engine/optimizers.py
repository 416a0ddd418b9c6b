"""The optimisers that can be asked for by name, each with the decay that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from shrinkwise.errors import SettingError
from shrinkwise.experiments.records import Setting
from shrinkwise.regularization.apply import decay_decoupled

DEFAULT_LR = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3}
DEFAULT_DECAY = {"sgd": "coupled", "adam": "coupled", "adamw": "decoupled"}


@dataclass(frozen=True)
class NamedOptimizer:
    """A factory of optimisers, by name.

    Attributes:
        name: ``sgd``, ``adam`` or ``adamw``.
        lr: Learning rate.
        momentum: Momentum of SGD; Adam keeps torch's own betas.
        decay: ``coupled`` adds ``lam·w`` to the gradient; ``decoupled`` shrinks each weight by the share ``lr·lam`` a step, apart
            from the gradient. ``adam`` decoupled is AdamW.

    Raises:
        SettingError: ``adamw`` is asked to be coupled.
    """

    name: str
    lr: float
    momentum: float = 0.9
    decay: str = "coupled"

    def __post_init__(self) -> None:
        if self.name == "adamw" and self.decay == "coupled":
            raise SettingError(
                "optimizer is adamw and decay is coupled",
                "AdamW is Adam with decoupled decay",
                "leave decay out, or take optimizer adam for the coupled form",
            )

    def __call__(self, groups: list[dict[str, Any]]) -> Optimizer:
        """Return an optimiser of ``groups``, each of which carries its ``weight_decay`` as ``lam``."""
        if self.name != "sgd":
            kind = torch.optim.Adam if self.decay == "coupled" else torch.optim.AdamW
            return kind(groups, lr=self.lr)
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        if self.decay == "decoupled":
            decay_decoupled(optimizer)
        return optimizer


def set_lr(optimizer: Optimizer, variant: Mapping[str, Setting]) -> Optimizer:
    """Let a variant's own ``lr``, where it has one, take the place of the learning rate in every group; return the optimiser."""
    if "lr" in variant:
        for group in optimizer.param_groups:
            group["lr"] = float(variant["lr"])
    return optimizer


def decay_of(optimizer: Optimizer) -> str:
    """Say how a live optimiser applies its own ``weight_decay``."""
    if isinstance(optimizer, torch.optim.AdamW) or optimizer.defaults.get("decoupled_weight_decay"):
        return "decoupled"
    return "coupled"
