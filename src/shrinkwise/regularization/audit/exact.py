"""One real step with zero gradients, hooks included, undone to the last bit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.audit.arithmetic import local, removed, squared_norm
from shrinkwise.regularization.audit.snapshot import Snapshot, of_training
from shrinkwise.regularization.audit.standins import step


@dataclass
class ExactSteps:
    """What real steps removed.

    Attributes:
        shrink: Fraction of the weight, by the identity of the parameter; all-zero and meta parameters, which show nothing, are left out.
        by_hooks: The part of it that is gone when no step hook runs; for optimisers that have hooks.
        failures: Label of an optimiser whose step failed -> why.
    """

    shrink: dict[int, float] = field(default_factory=dict)
    by_hooks: dict[int, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def step_exactly(model: nn.Module, optimizers: Sequence[Optimizer], sparse: frozenset[int] = frozenset()) -> ExactSteps:
    """Step each optimiser in place with zero gradients and put everything back, even where a step raises.

    What the state alone moves (momentum goes on without any gradient) is measured by the same step from zero weights and taken off.
    The host holds a copy of parameters, gradients and state meanwhile; parameters without a gradient get zeros of their size.

    Args:
        model: The model.
        optimizers: Its optimisers; each is stepped alone.
        sparse: Identities of parameters whose gradients are sparse.

    Returns:
        The fractions, and which steps failed.
    """
    seen = ExactSteps()
    kept = of_training(model, optimizers)
    try:
        for optimizer in optimizers:
            try:
                _measure(optimizer, kept, sparse, seen)
            except Exception as error:  # noqa: BLE001  anything can go wrong in somebody's optimiser or hook
                seen.failures[type(optimizer).__name__] = f"{type(error).__name__}: {error}"
    finally:
        kept.restore()
    return seen


def _measure(optimizer: Optimizer, kept: Snapshot, sparse: frozenset[int], seen: ExactSteps) -> None:
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    norms = {key: squared_norm(kept.value_of(p)) for key, p in held.items() if p.is_floating_point() and not p.is_meta}
    shown = [held[key] for key, norm in norms.items() if norm > 0]
    run = partial(_moved, optimizer, kept, shown, sparse)
    moved = run()
    drift = run(from_zero=True) if optimizer.state else dict.fromkeys(moved, 0.0)
    for key, along in moved.items():
        # One parameter in two optimisers loses to both.
        seen.shrink[key] = 1 - (1 - seen.shrink.get(key, 0.0)) * (1 - (along - drift[key]) / norms[key])
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        plain = run(with_hooks=False)
        seen.by_hooks.update({key: (moved[key] - plain[key]) / norms[key] for key in moved})


@torch.no_grad()
def _moved(  # noqa: PLR0913  the last two say in what a run differs
    optimizer: Optimizer,
    kept: Snapshot,
    parameters: Sequence[nn.Parameter],
    sparse: frozenset[int],
    *,
    from_zero: bool = False,
    with_hooks: bool = True,
) -> dict[int, float]:
    """Return how far one step moved each parameter against the weights w that it had, as a dot product with w; put all back."""
    try:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                _zero_gradient(parameter, is_sparse=id(parameter) in sparse)
        if from_zero:
            for parameter in parameters:
                parameter.zero_()
        if not with_hooks:
            optimizer._optimizer_step_pre_hooks = OrderedDict()
            optimizer._optimizer_step_post_hooks = OrderedDict()
        step(optimizer)
        found = {}
        for parameter in parameters:
            weight = kept.value_of(parameter)
            # From zero weights the step took off −w', not w − w'.
            found[id(parameter)] = removed(weight, local(parameter)) - (squared_norm(weight) if from_zero else 0.0)
        return found
    finally:
        kept.restore()


def _zero_gradient(parameter: nn.Parameter, *, is_sparse: bool) -> None:
    if is_sparse:
        parameter.grad = torch.zeros_like(parameter).to_sparse(1)
    elif parameter.grad is not None:
        parameter.grad.zero_()
    elif parameter.requires_grad:
        parameter.grad = torch.zeros_like(parameter)
