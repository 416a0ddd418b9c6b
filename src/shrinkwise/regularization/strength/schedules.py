"""λ over time: factors on the strength, as pure functions of the step and the learning rate.

A schedule keeps nothing between two calls, so a run that is resumed at step 500 sees what a run that never stopped sees. Two that
are made alike are equal. Schedules multiply: ``WarmUp(100) * Cosine(1000)``; one's own is a subclass of :class:`Schedule`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from shrinkwise.errors import SettingError
from shrinkwise.regularization.penalties import check_strength
from shrinkwise.regularization.strength.checks import check_count

__all__ = [
    "Constant",
    "Corrected",
    "Cosine",
    "EarlyOnly",
    "InEpochs",
    "Linear",
    "Product",
    "ProportionalToLr",
    "Schedule",
    "WarmUp",
]


class Schedule(ABC):
    """A factor on λ for each step of an optimiser."""

    @abstractmethod
    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return the factor on λ, finite and 0 or above.

        Args:
            step: Optimiser steps taken before this one, 0 at the first.
            lr: The learning rate of this step.
            lr_max: The largest learning rate of the run, ``lr`` or above.
        """

    def in_steps(self, steps_per_epoch: int) -> Schedule:
        """Return this schedule with whatever counts epochs in it, by :class:`InEpochs`, counting steps."""
        return self

    def __mul__(self, other: Schedule) -> Schedule:
        if not isinstance(other, Schedule):
            return NotImplemented
        return Product((*_parts(self), *_parts(other)))


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    """Several schedules at once: their factors multiply. Written with ``*``.

    >>> WarmUp(100) * Cosine(1000)
    WarmUp(n_steps=100) * Cosine(n_steps=1000, end=0.0)
    """

    parts: tuple[Schedule, ...]

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return the product of the parts' factors."""
        return math.prod(part.factor(step, lr, lr_max) for part in self.parts)

    def in_steps(self, steps_per_epoch: int) -> Schedule:
        """Return the product of the parts in steps."""
        return Product(tuple(part.in_steps(steps_per_epoch) for part in self.parts))

    def __repr__(self) -> str:
        return " * ".join(map(repr, self.parts))


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    return schedule.parts if isinstance(schedule, Product) else (schedule,)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same factor at every step.

    Args:
        value: The factor, 0 or above.

    Raises:
        SettingError: ``value`` is negative, NaN or infinite.
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", check_strength(self.value, "value"))

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return ``value``."""
        return self.value


@dataclass(frozen=True)
class _Timed(Schedule):
    n_steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_steps", check_count(self.n_steps, "n_steps"))

    def passed(self, step: int) -> float:
        """Return the share of ``n_steps`` that has passed, from 0 to 1."""
        return min(step / self.n_steps, 1.0)


@dataclass(frozen=True)
class WarmUp(_Timed):
    """From 0 at the first step in a straight line to 1 at step ``n_steps``, and 1 from there on.

    Args:
        n_steps: Optimiser steps, 1 or more.

    Raises:
        SettingError: ``n_steps`` is no whole number of 1 or above.

    >>> [WarmUp(4).factor(step, 0.1, 0.1) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return step/n_steps, at most 1."""
        return self.passed(step)


@dataclass(frozen=True)
class EarlyOnly(_Timed):
    """1 in the first ``n_steps`` steps and 0 in all later ones.

    Weight decay does most of its work early: taken away after an initial phase it is hardly missed, and begun only after that phase
    it has little effect (Golatkar, Achille and Soatto, "Time Matters in Regularizing Deep Networks", NeurIPS 2019).

    Args:
        n_steps: Optimiser steps, 1 or more.

    Raises:
        SettingError: ``n_steps`` is no whole number of 1 or above.

    >>> [EarlyOnly(2).factor(step, 0.1, 0.1) for step in range(4)]
    [1.0, 1.0, 0.0, 0.0]
    """

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return 1 before step ``n_steps``, else 0."""
        return 1.0 if step < self.n_steps else 0.0


@dataclass(frozen=True)
class _Ramp(_Timed):
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "end", check_strength(self.end, "end"))

    def between(self, share: float) -> float:
        """Return the point that lies ``share`` of the way from 1 to ``end``; either end is met to the last bit."""
        return (1 - share) + share * self.end


@dataclass(frozen=True)
class Linear(_Ramp):
    """From 1 at the first step in a straight line to ``end`` at step ``n_steps``, and ``end`` from there on.

    Args:
        n_steps: Optimiser steps, 1 or more.
        end: The factor at the end, 0 or above; above 1 the strength grows.

    Raises:
        SettingError: ``n_steps`` is no whole number of 1 or above, or ``end`` is negative, NaN or infinite.

    >>> [Linear(4, end=3).factor(step, 0.1, 0.1) for step in (0, 2, 4, 6)]
    [1.0, 2.0, 3.0, 3.0]
    """

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return the point of the line."""
        return self.between(self.passed(step))


@dataclass(frozen=True)
class Cosine(_Ramp):
    """From 1 at the first step along half a cosine to ``end`` at step ``n_steps``, and ``end`` from there on.

    The curve of Loshchilov and Hutter ("SGDR", ICLR 2017, equation 5), for λ in place of the learning rate and without restarts.

    Args:
        n_steps: Optimiser steps, 1 or more.
        end: The factor at the end, 0 or above; above 1 the strength grows.

    Raises:
        SettingError: ``n_steps`` is no whole number of 1 or above, or ``end`` is negative, NaN or infinite.

    >>> [round(Cosine(4).factor(step, 0.1, 0.1), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return the point of the curve."""
        return self.between((1 - math.cos(math.pi * self.passed(step))) / 2)


@dataclass(frozen=True)
class ProportionalToLr(Schedule):
    """λ follows the learning rate: the factor is lr/lr_max, 1 where the learning rate is largest.

    Since a step shrinks a weight by lr times λ, that shrink becomes lr²/lr_max·λ of the weight, where a constant λ shrinks it by
    lr·λ. Under decoupled decay that is the corrected decay of AdamC (Defazio, "Why Gradients Rapidly Increase Near the End of
    Training", 2025, which keeps it to weights that a normalisation follows) and timm's ``corrected_weight_decay``. A coupled
    penalty adds lr/lr_max·λ·w to the gradient: under plain SGD the same shrink, under momentum or Adam no fixed shrink at all.

    >>> ProportionalToLr().factor(0, lr=0.05, lr_max=0.1)
    0.5
    """

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Return lr/lr_max.

        Raises:
            SettingError: ``lr`` is negative, or above ``lr_max``.
        """
        if not 0 <= lr <= lr_max < math.inf:
            cause = "the factor is lr/lr_max, and lr_max has to be the largest learning rate of the run"
            raise SettingError(f"lr is {lr!r} and lr_max {lr_max!r}", cause, "give the peak of the learning rate as lr_max")
        # At a learning rate of 0 nothing moves, whatever the factor.
        return lr / lr_max if lr_max else 0.0


Corrected = ProportionalToLr
"""The literature's other name for it: λ proportional to lr and a shrink proportional to lr² are one schedule."""


@dataclass(frozen=True)
class InEpochs(Schedule):
    """A schedule whose ``n_steps`` counts epochs: ``InEpochs(Cosine(30))`` ends with the thirtieth, however many rows there are.

    An ``Experiment`` turns it into steps for each of its runs; elsewhere that is :meth:`in_steps`.

    Args:
        schedule: One of ours, or a product of such.

    Raises:
        SettingError: Somebody's own schedule is in it: what its steps are is not known.

    >>> InEpochs(WarmUp(2) * Cosine(30)).in_steps(100)
    WarmUp(n_steps=200) * Cosine(n_steps=3000, end=0.0)
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        for part in _parts(self.schedule):
            if not isinstance(part, _Timed | Constant | ProportionalToLr | InEpochs):
                raise SettingError(
                    f"schedule is {part!r}", "how it counts is its own affair", "give one of ours, such as Cosine(30), or a product"
                )

    def factor(self, step: int, lr: float, lr_max: float) -> float:
        """Raise: an epoch has no length here.

        Raises:
            SettingError: Always.
        """
        cause = "it counts epochs, and how many steps one has is not known here"
        raise SettingError(f"schedule is {self!r}", cause, "give schedule.in_steps(steps_per_epoch)")

    def in_steps(self, steps_per_epoch: int) -> Schedule:
        """Return the schedule in steps.

        Args:
            steps_per_epoch: Optimiser steps of an epoch, 1 or more.

        Raises:
            SettingError: It is no whole number of 1 or above.
        """
        n = check_count(steps_per_epoch, "steps_per_epoch")
        parts = [replace(part, n_steps=part.n_steps * n) if isinstance(part, _Timed) else part for part in _parts(self.schedule)]
        parts = [part.in_steps(n) for part in parts]
        return parts[0] if len(parts) == 1 else Product(tuple(parts))
