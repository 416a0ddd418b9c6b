"""Every exception and warning class of Shrinkwise, and the shape of its messages.

A message has three parts: the *fact* (what was found), the *cause* (why that cannot go on) and the *mend* (what to do).
Each class is also the built-in exception that a caller would expect, so ``except ValueError`` works without knowing us.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ShrinkwiseError(Exception):
    """A user's mistake, said in three parts.

    Args:
        fact: What was found, with the offending value in it.
        cause: Why that cannot go on.
        mend: What to do instead.

    >>> print(ShrinkwiseError("l2 is -1", "a strength cannot be negative", "give 0 or a positive number"))
    l2 is -1: a strength cannot be negative. Give 0 or a positive number.
    """

    def __init__(self, fact: str, cause: str, mend: str) -> None:
        super().__init__(fact, cause, mend)
        self.fact = fact
        self.cause = cause
        self.mend = mend

    def __str__(self) -> str:
        end = "" if self.mend.endswith(("?", ".")) else "."
        return f"{self.fact}: {self.cause}. {self.mend[:1].upper()}{self.mend[1:]}{end}"


class SettingError(ShrinkwiseError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


class AllSettingsError(SettingError):
    """Several settings are wrong at once; each is said on a line of its own."""

    def __init__(self, errors: Sequence[ShrinkwiseError]) -> None:
        first = errors[0]
        super().__init__(first.fact, first.cause, first.mend)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def __reduce__(self) -> tuple[type[AllSettingsError], tuple[tuple[ShrinkwiseError, ...]]]:
        return type(self), (self.errors,)


class DataError(ShrinkwiseError, ValueError):
    """Data cannot be read, or cannot carry the experiment that was asked for."""


class ModelError(ShrinkwiseError, TypeError):
    """A model does not fit what is asked of it."""


class UnitError(ShrinkwiseError, ValueError):
    """A unit of λ is unknown, or a conversion lacks a quantity that it needs."""


class StoreError(ShrinkwiseError, RuntimeError):
    """An output folder cannot be used: it is unwritable, damaged, or belongs to another experiment."""


class UnknownSettingError(SettingError, KeyError):
    """A training function asks its trial for a setting that the trial does not have."""


class WorkerError(ShrinkwiseError, RuntimeError):
    """A process that trained runs died; the runs that had ended are kept."""


class TrainingError(ShrinkwiseError, RuntimeError):
    """A training function gives nothing that can be judged, or no run ended in a way that says anything."""


class MissingExtraError(ShrinkwiseError, ImportError):
    """An optional library is absent; the message names the extra that brings it."""


class ShrinkwiseWarning(UserWarning):
    """Base of every warning that Shrinkwise issues."""


class UnplacedParameterWarning(ShrinkwiseWarning):
    """A parameter of unknown kind stays without a penalty."""


class StackingWarning(ShrinkwiseWarning):
    """Runs that were to be trained together are trained one by one."""


class DecayRoundingWarning(ShrinkwiseWarning):
    """Weights are kept in a precision in which the decay of a step rounds to nothing."""


def did_you_mean(word: str, known: Iterable[str], at_most: int | None = None) -> str:
    """Return a mend that names the closest known word, or all of them where none is close.

    Args:
        word: What was written.
        known: What could have been meant.
        at_most: How many known words to list; all if left out.

    >>> did_you_mean("acuracy", ["accuracy", "loss"])
    "did you mean 'accuracy'?"
    >>> did_you_mean("xyz", ["accuracy", "loss"])
    'use one of: accuracy, loss'
    """
    choices = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, choices, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    more = ", ..." if at_most is not None and len(choices) > at_most else ""
    return f"use one of: {', '.join(choices[:at_most])}{more}"
