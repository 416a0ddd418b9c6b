"""What has to be known of a live optimiser before anything is attached to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch.optim import Optimizer

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.rules import Placement

DECOUPLED_DECAY = "decoupled_decay"
"""Entry of a group: its ``weight_decay`` after ``decay_decoupled`` took it over."""


def unwrapped(optimizer: Any) -> Optimizer:
    """Return the torch optimiser inside wrappers such as Accelerate's and Lightning's, which hold it as ``optimizer``.

    Raises:
        ModelError: There is none.
    """
    inner = optimizer
    # A wrapper may itself claim to be an Optimizer, without the hooks of one.
    while isinstance(getattr(inner, "optimizer", None), Optimizer):
        inner = inner.optimizer
    if not isinstance(inner, Optimizer):
        mend = "give the torch.optim.Optimizer that is stepped"
        raise ModelError(f"got {type(optimizer).__name__}", "a penalty acts through the step hooks of a torch optimiser", mend)
    return inner


def group_of_each(optimizer: Optimizer) -> dict[int, int]:
    """Return the index of the group that holds each parameter, by the parameter's identity."""
    return {id(parameter): i for i, group in enumerate(optimizer.param_groups) for parameter in group["params"]}


def decay_of_each(optimizer: Optimizer) -> dict[int, float]:
    """Return the optimiser's own decay of each parameter that has one, coupled or decoupled; of a scheduled one, the initial."""
    decays = {}
    for group in optimizer.param_groups:
        names = ("weight_decay", DECOUPLED_DECAY)
        decay = sum(float(group.get(f"initial_{name}", group.get(name, 0.0))) for name in names)
        decays.update({id(parameter): decay for parameter in group["params"] if decay})
    return decays


def check_held(placements: Iterable[Placement], optimizers: Sequence[Optimizer]) -> None:
    """Check that the optimisers together hold every parameter that is penalised.

    Raises:
        SettingError: Some are missing.
    """
    held = {id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]}
    missing = [placement.name for placement in placements if id(placement.parameter) not in held]
    if missing:
        cause = "they are penalised, and no group of the optimiser holds them, so nothing would act on them"
        mend = (
            "bind the model whose parameters the optimiser was made from, after sharding or loading; "
            "or give all optimisers at once: bound.attach(first, second)"
        )
        raise SettingError(f"the optimiser lacks {counted(missing)}", cause, mend)


def counted(names: Sequence[str], at_most: int = 4) -> str:
    """Return how many parameters there are, and the names of the first few.

    >>> counted(["head.weight"])
    '1 parameter (head.weight)'
    """
    more = ", ..." if len(names) > at_most else ""
    return f"{len(names)} parameter{'s' if len(names) > 1 else ''} ({', '.join(names[:at_most])}{more})"
