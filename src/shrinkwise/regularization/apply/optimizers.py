"""What has to be known of a live optimiser before anything is attached to it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from torch.optim import Optimizer

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply.batch import Term
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
    """Return the optimiser's own decay of each parameter that has one, coupled or decoupled; of a scheduled one, the initial.

    A ``weight_decay`` that the groups carry and the optimiser does not know, as of Rprop, is none; ASGD has ``lambd`` as well.
    """
    decays: dict[int, float] = {}
    known = [name for name in ("weight_decay", "lambd") if name in optimizer.defaults]
    for group in optimizer.param_groups:
        decay = sum(float(group.get(f"initial_{name}", group.get(name, 0.0))) for name in (*known, DECOUPLED_DECAY))
        if decay:
            decays.update({id(parameter): decay for parameter in group["params"]})
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


def check_apart(optimizers: Sequence[Optimizer]) -> None:
    """Check that no two of several optimisers hold the same parameter: each would add the penalty.

    Raises:
        SettingError: Two do, or one is given twice.
    """
    held = [id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]]
    if len(set(held)) < len(held):
        cause = "each would let the penalty act on it"
        raise SettingError("two of the optimisers hold the same parameter", cause, "attach to the one that trains it")


def check_still_held(terms: Iterable[Term], before: Container[int], now: Container[int]) -> None:
    """Check that an optimiser holds what it held when something was attached to it.

    Args:
        terms: What is attached.
        before: Identities of the parameters that it held then.
        now: And now.

    Raises:
        SettingError: Some are gone: a trainer that shards afterwards puts other parameters into the groups.
    """
    if lost := list(dict.fromkeys(term.name for term in terms if term.key in before and term.key not in now)):
        cause = "they were replaced after it was attached, as sharding does, and the penalty would act on nothing"
        raise SettingError(f"the optimiser no longer holds {counted(lost)}", cause, "bind and attach again, after that")


def counted(names: Sequence[str], at_most: int = 4) -> str:
    """Return how many parameters there are, and the names of the first few.

    >>> counted(["head.weight"])
    '1 parameter (head.weight)'
    """
    more = ", ..." if len(names) > at_most else ""
    return f"{len(names)} parameter{'s' if len(names) > 1 else ''} ({', '.join(names[:at_most])}{more})"
