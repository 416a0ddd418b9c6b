"""What acts at an optimiser's step, through torch's own step hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.clock import is_skipped
from shrinkwise.regularization.apply.optimizers import DECOUPLED_DECAY, unwrapped
from shrinkwise.regularization.apply.stephook import AfterStep, BeforeStep, owners_at, register
from shrinkwise.regularization.dropout import dropouts
from shrinkwise.regularization.penalties import L2


def decay_decoupled(optimizer: Any) -> RemovableHandle:
    """Let an optimiser's ``weight_decay`` act as decoupled decay: each step first shrinks a weight by lr·weight_decay of itself.

    For optimisers that know only the coupled form, such as SGD, which with momentum then becomes SGDW (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 1); Adam becomes AdamW, to the last bit. Each group's
    ``weight_decay`` is moved to its new entry ``decoupled_decay``, which ``state_dict`` carries, and which is read at every step as
    ``lr`` is, so schedules of either are followed. A parameter whose ``grad`` is None is left as it is, as torch's own decay does.

    Call it once per optimiser, after its construction, and before ``load_state_dict`` when resuming; a deep copy of an optimiser
    loses its hooks. Groups that are added later keep the form of decay that is the optimiser's own. With ``step(closure)`` the
    shrink comes after the closure, as in AdamW.

    Args:
        optimizer: Any torch optimiser whose groups have an ``lr``, wrapped or not.

    Returns:
        A handle whose ``remove()`` ends the decay.

    Raises:
        SettingError: The decay of this optimiser is decoupled already.
        ModelError: ``optimizer`` is no torch optimiser.

    >>> weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)
    >>> handle = decay_decoupled(optimizer)
    >>> weight.grad = torch.zeros(2)
    >>> optimizer.step()
    >>> torch.equal(weight.detach(), torch.tensor([1.0, 2.0]) * (1 - 0.1 * 0.5))
    True
    """
    inner = unwrapped(optimizer)
    if any(isinstance(owner, DecoupledDecay) for owner in owners_at(inner)):
        cause = "a second call would shrink every weight twice a step"
        raise SettingError("decay_decoupled was called twice on one optimiser", cause, "call it once, or remove() the first handle")
    for group in inner.param_groups:
        # What a schedule started from moves along: it would bring the coupled decay back.
        for prefix in ("", "initial_") if "initial_weight_decay" in group else ("",):
            coupled, decoupled = f"{prefix}weight_decay", f"{prefix}{DECOUPLED_DECAY}"
            group[decoupled] = group.get(decoupled, 0.0) + group.get(coupled, 0.0)
            group[coupled] = 0.0
    decay = DecoupledDecay()
    return register(inner, BeforeStep(decay, decay.shrink))


class DecoupledDecay:
    """Shrinks each group's weights by its lr and decay; it reads nothing but the groups of the optimiser that it is given."""

    terms: tuple[Term, ...] = ()
    acts_on_weights: ClassVar[bool] = True

    @torch.no_grad()
    def shrink(self, optimizer: Optimizer) -> None:
        """Shrink the weights of the step that comes."""
        for group in optimizer.param_groups:
            weights = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group.get(DECOUPLED_DECAY) and weights:
                L2(group[DECOUPLED_DECAY]).descend_(weights, group["lr"])

    def on_standins(self, standins: Mapping[int, torch.Tensor]) -> DecoupledDecay:
        """Return itself: it knows no tensors."""
        return self


def count_steps(model: nn.Module, optimizer: Any) -> RemovableHandle:
    """Keep the dropout of a model told of the optimiser's step, in a training loop of one's own.

    The first step is 1; a model whose state was loaded goes on from its own. A step that a GradScaler skips does not count.

    Args:
        model: A module after ``place_dropout``.
        optimizer: The optimiser whose steps count, wrapped or not; call once, for one of a model's optimisers.

    Returns:
        A handle whose ``remove()`` ends the counting.

    Raises:
        ModelError: A dropout of the model has not been placed, or ``optimizer`` is no torch optimiser.
        SettingError: The steps of this optimiser are counted for this model already.

    >>> from shrinkwise.regularization.dropout import Dropout, place_dropout
    >>> model = nn.Sequential(nn.Linear(2, 2), Dropout(0.5))
    >>> place_dropout(model, seed=0)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> handle = count_steps(model, optimizer)
    >>> optimizer.step()
    >>> model[1].step
    2
    """
    inner = unwrapped(optimizer)
    counted = dropouts(model)
    if any(dropout.seed is None for dropout in counted):
        cause = "counting steps is of no use to a dropout that has no seed and no number"
        raise ModelError("a dropout of this model has no place", cause, "call place_dropout(model, seed) first")
    if any(isinstance(owner, _Counter) and owner.model is model for owner in owners_at(inner)):
        cause = "a second call would count every step twice"
        raise SettingError(
            "count_steps was called twice on one model and optimiser", cause, "call it once, or remove() the first handle"
        )
    for dropout in counted:
        dropout.step = dropout.step or 1
    counter = _Counter(model)
    return register(inner, AfterStep(counter, counter.count))


class _Counter:
    """Adds one to the step of every dropout in a model."""

    terms: tuple[Term, ...] = ()
    acts_on_weights: ClassVar[bool] = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def count(self, optimizer: Optimizer) -> None:
        if not is_skipped(optimizer):
            for dropout in dropouts(self.model):
                dropout.step = (dropout.step or 0) + 1
