"""One real step with zero gradients, hooks included, undone to the last bit."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.apply.stephook import StepHook, hooks_of
from shrinkwise.regularization.audit.measuring.arithmetic import removed, squared_norm
from shrinkwise.regularization.audit.measuring.laws import is_same_fraction
from shrinkwise.regularization.audit.measuring.trial import step
from shrinkwise.regularization.rules.snapshot import Snapshot, local


@dataclass
class ExactSteps:
    """What real steps removed.

    Attributes:
        shrink: Fraction of the weight, by the identity of the parameter; all-zero and meta ones show nothing and are left out.
        by_hooks: The part of it that is gone when only step hooks of ours run, and whether a weight twice the size loses the same
            fraction to the others; for optimisers that have others.
        failures: Label of an optimiser whose step failed -> why.
    """

    shrink: dict[int, float] = field(default_factory=dict)
    by_hooks: dict[int, tuple[float, bool]] = field(default_factory=dict)
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
    kept = Snapshot([*model.modules(), *optimizers], [hook for optimizer in optimizers for hook in hooks_of(optimizer)])
    try:
        for optimizer in optimizers:
            try:
                _measure(optimizer, kept, sparse, seen)
            except Exception as error:  # noqa: BLE001  anything can go wrong in somebody's optimiser or hook
                seen.failures[type(optimizer).__name__] = repr(error)
    finally:
        kept.restore()
    return seen


def _measure(optimizer: Optimizer, kept: Snapshot, sparse: frozenset[int], seen: ExactSteps) -> None:
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    norms = {key: squared_norm(kept.value_of(p)) for key, p in held.items() if p.is_floating_point() and not p.is_meta}
    shown = [held[key] for key, norm in norms.items() if norm > 0]
    run = partial(_moved, optimizer, kept, shown, sparse)
    try:
        moved = run()
    except Exception as error:  # noqa: BLE001  it is raised again below
        # Some, such as implementations of SAM, refuse to step without a closure and do not say so in their signature.
        run = partial(run, with_closure=True)
        try:
            moved = run()
        except Exception:  # noqa: BLE001  what it said at first is the better reason
            raise error from None
    drift = run(scale=0.0) if _has_state(optimizer) else dict.fromkeys(moved, 0.0)
    for key, along in moved.items():
        fraction = (along - drift[key]) / norms[key]
        if drift[key] and abs(fraction) < torch.finfo(held[key].dtype).eps / 8:
            fraction = 0.0
        # One parameter in two optimisers loses to both.
        seen.shrink[key] = 1 - (1 - seen.shrink[key]) * (1 - fraction) if key in seen.shrink else fraction
    if not all(isinstance(hook, StepHook) for hook in hooks_of(optimizer)):
        plain, doubled, plain_doubled = run(only_ours=True), run(scale=2.0), run(scale=2.0, only_ours=True)
        for key in moved:
            once, twice = (moved[key] - plain[key]) / norms[key], (doubled[key] - plain_doubled[key]) / (2 * norms[key])
            seen.by_hooks[key] = once, is_same_fraction(once, twice)


@torch.no_grad()
def _moved(
    optimizer: Optimizer,
    kept: Snapshot,
    parameters: Sequence[nn.Parameter],
    sparse: frozenset[int],
    *,
    scale: float = 1.0,
    only_ours: bool = False,
    with_closure: bool = False,
) -> dict[int, float]:
    """Return how far one step from ``scale`` times the weights w moved each parameter against w, as a dot product; put all back.

    Of the step hooks all run, or ours alone.
    """

    def prepare() -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                _zero_gradient(parameter, is_sparse=id(parameter) in sparse)

    try:
        prepare()
        if scale != 1:
            for parameter in parameters:
                parameter.mul_(scale)
        if only_ours:
            for side in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
                hooks = getattr(optimizer, side, {})
                setattr(optimizer, side, OrderedDict((key, hook) for key, hook in hooks.items() if isinstance(hook, StepHook)))
        with warnings.catch_warnings():
            # What a real step would say is said by the findings.
            warnings.simplefilter("ignore")
            step(optimizer, prepare, with_closure=with_closure)
        found = {}
        for parameter in parameters:
            weight = kept.value_of(parameter)
            # What the step took off is scale·w − w', not w − w'.
            found[id(parameter)] = removed(weight, local(parameter)) + (scale - 1) * squared_norm(weight)
        return found
    finally:
        kept.restore()


def _has_state(optimizer: Optimizer) -> bool:
    """Whether an optimiser, or one that it holds, has state."""
    return any(isinstance(held, Optimizer) and held.state for held in (optimizer, *vars(optimizer).values()))


def _zero_gradient(parameter: nn.Parameter, *, is_sparse: bool) -> None:
    if is_sparse:
        parameter.grad = torch.zeros_like(parameter).to_sparse(1)
    elif parameter.grad is not None:
        parameter.grad.zero_()
    elif parameter.requires_grad:
        parameter.grad = torch.zeros_like(parameter)
