"""Parameter groups for any torch optimiser that has a weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from shrinkwise.regularization.apply.unknown import say_unknown
from shrinkwise.regularization.penalties import check_strength
from shrinkwise.regularization.rules import ApplyTo, Key, assign, place


def param_groups(
    model: nn.Module,
    weight_decay: float | Mapping[Key, float],
    *,
    apply_to: ApplyTo = "weights",
    inputs: Any = None,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Split a model's parameters into those that an optimiser decays and those that it leaves free.

    Args:
        model: Any module.
        weight_decay: Strength in the optimiser's own unit: ``lam`` for SGD, decoupled decay for AdamW. Or a mapping from keys to
            strengths, in which the more specific key decides, such as ``{"weights": 0.05, "head": 0.1, "head.bias": 0.01}``: a key
            names modules or parameters by name or glob, a role, a module type, or is a predicate (see ``assign``).
        apply_to: What a bare strength and a key that names modules mean: ``weights`` for weight matrices and filters, ``all`` for
            everything that is trained, or the name of a preset that does as another package does.
        inputs: What the model's forward takes; then parameters of unknown kind are judged by how they are used.
        strict: Whether a parameter of unknown kind is an error, and not a warning.

    Returns:
        One group for each strength, the free ones last, each with its ``weight_decay`` (0 included). Every trained parameter is in
        exactly one, in the model's order; frozen ones are in none. A group that would be empty is left out.

    Raises:
        SettingError: A strength is negative, NaN or infinite, ``apply_to`` is unknown, or a key names nothing.
        ModelError: ``model`` is not a module; or, where ``strict``, a parameter is of unknown kind.

    Warns:
        UnplacedParameterWarning: Parameters of unknown kind are put with the free ones.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    >>> groups = param_groups(model, {"weights": 0.05, "2": 0.1})
    >>> [(group["weight_decay"], [p.numel() for p in group["params"]]) for group in groups]
    [(0.05, [6]), (0.1, [3]), (0.0, [3, 3, 3, 1])]
    """
    if isinstance(weight_decay, Mapping):
        for key, strength in weight_decay.items():
            check_strength(strength, f"weight_decay[{key!r}]")
    else:
        check_strength(weight_decay, "weight_decay")
    placements = place(model, inputs)
    strengths = {
        id(p.parameter): float(strength) for p, strength in assign(placements, weight_decay, slot="weight_decay", apply_to=apply_to)
    }
    say_unknown(placements, strengths, [weight_decay], apply_to=apply_to, strict=strict)
    groups: dict[float, list[nn.Parameter]] = {}
    for placement in placements:
        if not placement.is_frozen:
            groups.setdefault(strengths.get(id(placement.parameter), 0.0), []).append(placement.parameter)
    free = groups.pop(0.0, [])
    decayed = [{"params": parameters, "weight_decay": strength} for strength, parameters in groups.items()]
    return [*decayed, {"params": free, "weight_decay": 0.0}] if free else decayed
