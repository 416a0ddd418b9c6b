"""What a training function is handed: one variant, one seed, and where to report to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from shrinkwise.errors import SettingError, UnknownSettingError, did_you_mean
from shrinkwise.experiments.records import Setting, Variant
from shrinkwise.experiments.scalars import scalar

_REPORTS_BEFORE_COLLAPSE = 10
_SHARE_OF_CONSTANT = 0.95


class Trial(Mapping[str, Setting]):
    """One training, as a training function sees it: a mapping of its settings, in Optuna's shape.

    Attributes:
        seed: What everything random should hang on: split, initial weights, order. Trials of one seed are compared in pairs.

    >>> trial = Trial(Variant(l2=0.01), seed=3)
    >>> trial["l2"], trial.seed, dict(trial)
    (0.01, 3, {'l2': 0.01})
    """

    def __init__(self, variant: Variant, seed: int) -> None:
        self.seed = seed
        self._variant = variant
        self._read: set[str] = set()
        self._values: list[float] = []
        # Kept beside the values, so that to ask after every batch costs nothing.
        self._least, self._is_finite = math.inf, True
        self._constant = math.nan

    def __getitem__(self, name: str) -> Setting:
        """Return a setting.

        Raises:
            UnknownSettingError: This trial has no such setting.
        """
        if name not in self._variant:
            mend = did_you_mean(str(name), self._variant)
            raise UnknownSettingError(
                f"the trial has no setting {name!r}",
                "train(trial) asks for it",
                f"{mend.rstrip('.')}; or say that it holds λ, by name={str(name)!r} (--name)",
            )
        self._read.add(name)
        return self._variant[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a setting; to ask is not to read it."""
        return name in self._variant

    def __iter__(self) -> Iterator[str]:
        return iter(self._variant)

    def __len__(self) -> int:
        return len(self._variant)

    @property
    def params(self) -> dict[str, Setting]:
        """All settings by name."""
        return dict(self)

    @property
    def unread(self) -> tuple[str, ...]:
        """The settings that nobody has read yet."""
        return tuple(name for name in self._variant if name not in self._read)

    @property
    def reported(self) -> tuple[float, ...]:
        """Everything that was reported, in that order."""
        return tuple(self._values)

    @property
    def constant_loss(self) -> float:
        """What the best constant prediction gives; NaN where the function has not said."""
        return self._constant

    def report(self, value: float, step: int | None = None) -> None:
        """Add a point to the curve of this run, such as the validation loss after an epoch.

        Args:
            value: Any number; one that is NaN or infinite means that the run has diverged.
            step: Epoch or step, as Optuna takes it; a curve here counts reports, so that it may be left out.

        Raises:
            SettingError: The value is no number.
        """
        number = _read(value)
        if number is None:
            raise SettingError(
                f"trial.report was given {type(value).__name__}", "a curve is made of numbers", "report such as float(loss)"
            )
        self._values.append(number)
        self._least, self._is_finite = min(self._least, number), self._is_finite and math.isfinite(number)

    def constant(self, loss: float) -> None:
        """Say what the best constant prediction gives on what is reported, a loss: without it no run is taken for collapsed.

        For classes of equal share that is ``math.log(n_classes)``, for numbers the variance of the targets.

        Raises:
            SettingError: It is no positive number.
        """
        number = _read(loss)
        if number is None or not 0 < number < math.inf:
            raise SettingError(f"trial.constant was given {loss!r}", "it is a loss", "give a positive number, such as math.log(5)")
        self._constant = number

    @property
    def has_diverged(self) -> bool:
        """Whether a value that was reported is NaN or infinite."""
        return not self._is_finite

    @property
    def has_collapsed(self) -> bool:
        """Whether ten or more values were reported and every one lies no more than 5 % under what a constant prediction gives."""
        stuck = self._least >= _SHARE_OF_CONSTANT * self._constant
        return len(self._values) >= _REPORTS_BEFORE_COLLAPSE and stuck and not self.has_diverged

    def should_prune(self) -> bool:
        """Whether going on is of no use: the run has diverged, or it has collapsed.

        Never because others did better by now: early epochs favour weak penalties, and a stronger one often wins only at the end.
        A run has *diverged* when a value that it reported is NaN or infinite. It has *collapsed* when it has reported at least ten
        values and not one is more than 5 % under what the best constant prediction gives: nothing has been learned. That can only
        be told where the function has said what a constant gives, by :meth:`constant`.
        """
        return self.has_diverged or self.has_collapsed


def _read(value: object) -> float | None:
    """Return a number, or the one number that an array holds; None for anything else."""
    size = getattr(value, "size", None)
    holds_one = (size() == (1,) if callable(size) else size == 1) and hasattr(value, "item")
    return scalar(value.item() if holds_one else value)  # type: ignore[attr-defined]
