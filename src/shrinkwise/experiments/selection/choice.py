"""What a choice of λ is: the strength, its interval, why, the whole curve, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shrinkwise.experiments.records import Record, RunKey, Status, Variant

TrainMany = Callable[[Sequence[RunKey]], Sequence[Record]]
"""Trains runs and returns their records, in the order asked for; a run that was trained before is not trained again."""


@dataclass(frozen=True)
class Seen:
    """What selection sees of a run.

    Attributes:
        variant: Its settings, λ in the unit that the user wrote.
        seed: Its seed.
        loss: What is minimised, on validation rows, as an :class:`Objective` reads it: less is better. NaN unless the run is done.
        status: How it ended.
        is_collapsed: Whether it learned nothing.
        n_gradients: Sample-gradients that it took: epochs trained times training rows; 0 where unknown.
        seconds: Wall time.
    """

    variant: Variant
    seed: int
    loss: float
    status: Status
    is_collapsed: bool
    n_gradients: int
    seconds: float

    @property
    def is_bad(self) -> bool:
        """Whether it says only that its λ is no good: collapsed, diverged, or failed."""
        return self.is_collapsed or self.status is not Status.DONE


@dataclass(frozen=True)
class CurvePoint:
    """The expected loss at one λ, over seeds.

    Attributes:
        lam: Strength in the user's unit; 0 stands for no penalty.
        loss: Expected validation loss, in the metric's own unit.
        low: Lower end of the 95 % band of the curve, up to what all λs share. ``high`` likewise.
    """

    lam: float
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What a choice cost.

    Attributes:
        seeds: Seeds that were used.
        trainings: Runs trained.
        sample_gradients: Epochs times training rows, over all runs; 0 where unknown.
        seconds: Sum of the runs' wall times.
    """

    seeds: int
    trainings: int
    sample_gradients: int
    seconds: float

    @property
    def trainings_per_seed(self) -> float:
        """Trainings for each seed used."""
        return self.trainings / self.seeds if self.seeds else 0.0


@dataclass(frozen=True)
class Step:
    """One round on the path of a choice.

    Attributes:
        runs: ``(variant, seed)`` of the runs trained in it.
        best: λ that looked best after it, in the user's unit. ``low`` and ``high``: the interval then.
        why: Why these runs, in words.
    """

    runs: tuple[tuple[Variant, int], ...]
    best: float
    low: float
    high: float
    why: str


@dataclass(frozen=True)
class Choice:
    """The λ to take, and how sure that is.

    Attributes:
        method: ``search``, ``sweep``, ``evidence`` or ``prior``.
        variant: The settings to train with; ``lam`` is its λ, in the user's ``unit``.
        low: Lower end of the 90 % interval of the best λ, in the user's unit; 0 where no penalty is within it. ``high`` likewise.
        reason: Why, in one or two sentences.
        at_boundary: Whether the best lies at the end of the range that was looked at.
        keeps_default: Whether the default is the choice: nothing is better, or what could be gained over it is less than the
            margin, or less than half of it and within noise.
        is_beyond_noise: Whether the gain over the default, where it is not kept, is beyond noise.
        curve: The expected loss over λ, at the chosen other settings, by rising λ.
        cost: What it cost.
        runs: Every run that was looked at.
        path: Round by round, what was trained and what was believed.
        curves: Other settings (empty of λ) -> curve, where more than one such setting was searched, the chosen ones among them.
        notes: What a reader must know beside it.
        name: The setting that holds λ.
        default: λ that is kept where nothing beyond noise is to be gained, in the user's unit; None where it is not known.
        metric: The validation metric that is chosen by.
        is_higher_better: Whether more of it is better: the losses of runs and curves are then its values with the sign changed.
    """

    method: str
    variant: Variant
    lam: float
    unit: str
    low: float
    high: float
    reason: str
    at_boundary: bool
    keeps_default: bool
    curve: tuple[CurvePoint, ...]
    cost: Cost
    runs: tuple[Seen, ...] = ()
    path: tuple[Step, ...] = ()
    curves: tuple[tuple[Variant, tuple[CurvePoint, ...]], ...] = ()
    notes: tuple[str, ...] = field(default=())
    is_beyond_noise: bool = True
    name: str = "l2"
    default: float | None = None
    metric: str = "loss"
    is_higher_better: bool = False
