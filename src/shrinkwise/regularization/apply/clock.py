"""How many steps an optimiser has taken, kept where its own state is kept."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any, ClassVar, Protocol, cast

import torch
from torch.optim import Optimizer

from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.stephook import AfterStep, register
from shrinkwise.regularization.strength.schedules import Schedule

STEP, LR_MAX = "shrinkwise_step", "shrinkwise_lr_max"


class Listener(Protocol):
    """What wants to know that a step was taken."""

    def refresh(self) -> None:
        """Take the strengths of the step that comes next."""
        ...


class Clock:
    """Counts an optimiser's steps in its groups.

    ``state_dict`` carries the count as it carries ``lr``, so a schedule goes on where it was when training is resumed. A step that
    a GradScaler skips does not count.
    """

    terms: tuple[Term, ...] = ()
    acts_on_weights: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._listeners: weakref.WeakSet[Any] = weakref.WeakSet()
        self._see_rates()

    @staticmethod
    def of(optimizer: Optimizer) -> Clock:
        """Return the clock of an optimiser, which has one however many ask, and let it count after all other step hooks so far."""
        hooks = cast("OrderedDict[int, Any]", optimizer._optimizer_step_post_hooks)
        for key, hook in hooks.items():
            if isinstance(hook, AfterStep) and isinstance(hook.owner, Clock):
                # What acts after a step still belongs to that step.
                hooks.move_to_end(key)
                return hook.owner
        clock = Clock(optimizer)
        register(optimizer, AfterStep(clock, clock.count))
        return clock

    def tell(self, listener: Listener) -> None:
        """Call ``listener.refresh()`` after each step, as long as the listener lives."""
        self._listeners.add(listener)

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return int(self.optimizer.param_groups[0].get(STEP, 0))

    def factor(self, schedule: Schedule, group: int) -> float:
        """Return a schedule's factor for the step that comes next, in the group of that index."""
        self._see_rates()
        options = self.optimizer.param_groups[group]
        return schedule.factor(self.step, float(options["lr"]), options[LR_MAX])

    def count(self, optimizer: Optimizer) -> None:
        """Count the step that was taken."""
        if not is_skipped(optimizer):
            optimizer.param_groups[0][STEP] = self.step + 1
        for listener in list(self._listeners):
            listener.refresh()

    def _see_rates(self) -> None:
        """Keep the largest learning rate of each group: as declared by a scheduler of torch, or as seen."""
        for group in self.optimizer.param_groups:
            # OneCycleLR declares its peak, and takes no notice of the rate that the optimiser was made with.
            names = ("lr", "max_lr") if "max_lr" in group else ("lr", "initial_lr", LR_MAX)
            group[LR_MAX] = max(float(group.get(name, 0.0)) for name in names)


def is_skipped(optimizer: Optimizer) -> bool:
    """Whether a GradScaler found infinite gradients and a fused optimiser is to leave this step out; asks the device."""
    found_inf = getattr(optimizer, "found_inf", None)
    return isinstance(found_inf, torch.Tensor) and bool(found_inf)
