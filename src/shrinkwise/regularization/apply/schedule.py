"""An optimiser's own weight decay over time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, cast

from torch.optim import Optimizer

from shrinkwise.errors import SettingError
from shrinkwise.regularization.apply.batch import Term
from shrinkwise.regularization.apply.clock import Clock
from shrinkwise.regularization.apply.optimizers import DECOUPLED_DECAY, unwrapped
from shrinkwise.regularization.apply.stephook import StepHook, owners_at
from shrinkwise.regularization.strength.schedules import Schedule

_DECAYS = ("weight_decay", DECOUPLED_DECAY)


class DecaySchedule:
    """Sets each group's decay to its initial one times a schedule's factor.

    Attributes:
        schedule: The factor over the steps.
    """

    terms: tuple[Term, ...] = ()
    acts_on_weights: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        self.schedule = schedule
        self._clock = Clock.of(optimizer)
        self._optimizer = optimizer
        self._handle = optimizer.register_step_pre_hook(StepHook(self, self.set_decay))
        # Before decay_decoupled's own hook, whenever that was registered: it reads what this one sets.
        cast("OrderedDict[int, Any]", optimizer._optimizer_step_pre_hooks).move_to_end(self._handle.id, last=False)
        self.set_decay(optimizer)

    def __repr__(self) -> str:
        return f"DecaySchedule({self.schedule!r}, step={self._clock.step})"

    def set_decay(self, optimizer: Optimizer) -> None:
        """Set the decay of the step that comes next."""
        for i, group in enumerate(optimizer.param_groups):
            factor = self._clock.factor(self.schedule, i)
            for name in _DECAYS:
                if name in group:
                    group[name] = group.setdefault(f"initial_{name}", group[name]) * factor

    def remove(self) -> None:
        """End the schedule, with the initial decay in place."""
        self._handle.remove()
        for group in self._optimizer.param_groups:
            group.update({name: group.pop(f"initial_{name}") for name in _DECAYS if f"initial_{name}" in group})


def check_schedule(schedule: object, name: str) -> None:
    """Check that something is a schedule.

    Raises:
        SettingError: It is not.
    """
    if not isinstance(schedule, Schedule):
        mend = "give one of shrinkwise.schedules, such as Cosine(10_000), or a subclass of Schedule"
        raise SettingError(f"{name} is {schedule!r}", "it is no schedule", mend)


def schedule_decay(optimizer: Any, schedule: Schedule) -> DecaySchedule:
    """Let an optimiser's own ``weight_decay`` follow a schedule.

    Each group keeps its strength of today as ``initial_weight_decay``, and the steps are counted in the groups: ``state_dict``
    carries both, so training that is resumed goes on where it was. Call it before ``load_state_dict``. Where the optimiser's step
    is compiled, a changing ``weight_decay`` would compile it anew each time: there use ``bound.attach`` with a schedule.

    Args:
        optimizer: Any torch optimiser, wrapped or not.
        schedule: A factor on the decay over the steps, such as ``schedules.Cosine(10_000)``.

    Returns:
        What acts; ``remove()`` ends it.

    Raises:
        SettingError: The optimiser's decay follows a schedule already, or is no part of its groups.
        ModelError: ``optimizer`` is no torch optimiser.

    >>> from shrinkwise.regularization.strength.schedules import Linear
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    >>> decay = schedule_decay(optimizer, Linear(4))
    >>> for _ in range(3):
    ...     weight.grad = torch.zeros(2)
    ...     optimizer.step()
    ...     print(optimizer.param_groups[0]["weight_decay"])
    0.5
    0.375
    0.25
    """
    optimizer = unwrapped(optimizer)
    check_schedule(schedule, "schedule")
    if any(isinstance(owner, DecaySchedule) for owner in owners_at(optimizer)):
        cause = "two schedules would multiply without being asked to"
        raise SettingError(
            "this optimiser's decay follows a schedule already", cause, "remove() the first, or multiply them: a * b"
        )
    if not any(name in group for group in optimizer.param_groups for name in _DECAYS):
        mend = "use Regularizer(schedule=...).bind(model).attach(optimizer)"
        raise SettingError(f"{type(optimizer).__name__} has no weight_decay", "there is nothing to schedule", mend)
    return DecaySchedule(optimizer, schedule)
