"""What a live optimiser does, as far as a fleet can do it too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer

from shrinkwise.experiments.engine.live import LiveRun
from shrinkwise.regularization.apply.attach import Attached
from shrinkwise.regularization.apply.clock import Clock
from shrinkwise.regularization.apply.hooks import DecoupledDecay
from shrinkwise.regularization.apply.optimizers import DECOUPLED_DECAY
from shrinkwise.regularization.apply.schedule import DecaySchedule
from shrinkwise.regularization.apply.stephook import StepHook, hooks_of

_KINDS: dict[type[Optimizer], str] = {torch.optim.SGD: "sgd", torch.optim.Adam: "adam", torch.optim.AdamW: "adam"}


@dataclass(frozen=True)
class Rule:
    """How weights are moved: what all runs of a fleet, and all their parameters, have in common.

    Attributes:
        kind: ``sgd`` or ``adam``.
        momentum: Momentum of SGD.
        nesterov: Whether it is Nesterov's.
        betas: Decay rates of Adam's moments.
        eps: What is added to the root of Adam's second moment.
        shrinks_first: Whether decoupled decay comes before the gradients of further penalties, as that of ``decay_decoupled`` does;
            AdamW's own lies inside its step, behind them.
    """

    kind: str
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    shrinks_first: bool = False


@dataclass(frozen=True)
class Hand:
    """What one run does to one parameter.

    Attributes:
        lr: Learning rate before any schedule.
        coupled: ``lam`` that is added to the gradient.
        decoupled: Decay that shrinks the weight by lr times it.
    """

    lr: float
    coupled: float = 0.0
    decoupled: float = 0.0


@dataclass(frozen=True)
class Reading:
    """An optimiser, read.

    Attributes:
        rule: What all its parameters have in common.
        hands: Name of a parameter -> its learning rate and decay.
    """

    rule: Rule
    hands: dict[str, Hand] = field(compare=False)


def read_optimizer(live: LiveRun) -> Reading | str:
    """Return what a run's optimiser does, or say why no fleet can do it."""
    optimizer = live.optimizer
    kind = _KINDS.get(type(optimizer))
    if kind is None:
        return f"{type(optimizer).__name__} has no stacked form; SGD, Adam and AdamW have one"
    if not all(_is_known(hook, live) for hook in hooks_of(optimizer)):
        return "the optimiser has step hooks that were not made by the experiment"
    names = {id(parameter): name for name, parameter in live.model.named_parameters()}
    rules, hands = set(), {}
    for group in optimizer.param_groups:
        if reason := _odd(group):
            return reason
        rules.add(_rule(kind, group))
        for parameter in group["params"]:
            if id(parameter) not in names:
                return "the optimiser holds a tensor that is no parameter of the network"
            hands[names[id(parameter)]] = _hand(optimizer, group)
    if len(rules) != 1:
        return "groups of the optimiser differ in more than learning rate and decay"
    return Reading(rules.pop(), hands)


def _is_known(hook: object, live: LiveRun) -> bool:
    """Whether a step hook is one whose work a fleet does itself."""
    owner = hook.owner if isinstance(hook, StepHook) else None
    if isinstance(owner, Attached):
        return live.bound is not None and owner.terms == tuple(live.bound.terms)
    return isinstance(owner, Clock | DecaySchedule | DecoupledDecay)


def _odd(group: dict[str, Any]) -> str:
    for option in ("maximize", "amsgrad", "dampening", "differentiable", "capturable"):
        if group.get(option):
            return f"the optimiser's option {option} has no stacked form"
    if isinstance(group["lr"], torch.Tensor):
        return "the learning rate is a tensor"
    return ""


def _rule(kind: str, group: dict[str, Any]) -> Rule:
    shrinks_first = DECOUPLED_DECAY in group
    if kind == "sgd":
        momentum, nesterov = float(group["momentum"]), bool(group["nesterov"])
        return Rule(kind, momentum=momentum, nesterov=nesterov, shrinks_first=shrinks_first)
    beta1, beta2 = group["betas"]
    return Rule(kind, betas=(float(beta1), float(beta2)), eps=float(group["eps"]), shrinks_first=shrinks_first)


def _hand(optimizer: Optimizer, group: dict[str, Any]) -> Hand:
    decay = float(group.get("initial_weight_decay", group["weight_decay"]))
    own = float(group.get(f"initial_{DECOUPLED_DECAY}", group.get(DECOUPLED_DECAY, 0.0)))
    is_decoupled = isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
    return Hand(float(group["lr"]), 0.0 if is_decoupled else decay, own + (decay if is_decoupled else 0.0))
