"""Parameter groups for any torch optimiser."""

from __future__ import annotations

from typing import Any

from torch import nn

from shrinkwise.regularization.penalties import check_strength
from shrinkwise.regularization.rules import ApplyTo, penalised, place


def param_groups(model: nn.Module, weight_decay: float, *, apply_to: ApplyTo = "weights") -> list[dict[str, Any]]:
    """Split a model's parameters into those that an optimiser decays and those that it leaves free.

    Args:
        model: Any module.
        weight_decay: Strength in the optimiser's own unit: ``lam`` for SGD, decoupled decay for AdamW.
        apply_to: ``weights`` for weight matrices and filters, ``all`` for everything that is trained.

    Returns:
        At most two groups, decayed first, each with its ``weight_decay`` (0 included). Every trained parameter is in exactly one,
        in the model's order; frozen ones are in none. A group that would be empty is left out.

    Raises:
        SettingError: ``weight_decay`` is negative, NaN or infinite, or ``apply_to`` is unknown.
        ModelError: ``model`` is not a module.

    Warns:
        UnplacedParameterWarning: Under ``weights``, parameters of unknown kind are put with the free ones.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> [(group["weight_decay"], [p.numel() for p in group["params"]]) for group in param_groups(model, 0.05)]
    [(0.05, [6]), (0.0, [3, 3, 3])]
    """
    weight_decay = check_strength(weight_decay, "weight_decay")
    placements = place(model)
    chosen = penalised(placements, apply_to)
    decayed = {id(placement.parameter) for placement in chosen}
    free = [p.parameter for p in placements if not p.is_frozen and id(p.parameter) not in decayed]
    groups = [
        {"params": [placement.parameter for placement in chosen], "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
