"""How fast and how strongly: each run's learning rate and penalties, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.rules import Hand
from shrinkwise.experiments.engine.fleet.stack import REST, column
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.regularization.apply import Bound
from shrinkwise.regularization.penalties import L2SP, GroupLasso, Penalty


class Rates:
    """Learning rates and strengths of a fleet.

    Args:
        recipe: Whose schedules are followed, counted in steps.
        hands: What each run does to each parameter.
        bounds: The further penalties of each run.
        parameters: The stacked weights.

    Attributes:
        step: Steps begun so far.
        lr: Parameter -> each run's learning rate at the step that was begun.
        lam: Parameter -> each run's coupled decay, likewise.
        share: Parameter -> the share of the weight that decoupled decay takes off, likewise.
    """

    def __init__(
        self, recipe: Recipe, hands: Sequence[Mapping[str, Hand]], bounds: Sequence[Bound | None], parameters: Mapping[str, Tensor]
    ) -> None:
        self.recipe, self.step, self.names = recipe, 0, tuple(parameters)
        self._hands = [dict(each) for each in hands]
        self._penalties = _stacked(bounds, parameters)
        self._peak: dict[float, float] = {}
        self._lay_out()

    def begin_step(self) -> bool:
        """Go on to the next step, and say whether it may have other rates than the one before."""
        has_schedule = self.recipe.schedule is not None or self.recipe.lr_schedule is not None
        if has_schedule:
            self._lay_out()
        self.step += 1
        return has_schedule

    def decays(self, name: str) -> list[bool]:
        """Return whether a parameter has a decay of its own in each run, at whatever step."""
        hands = [hands[name.removesuffix(REST)] for hands in self._hands]
        return [hand.coupled > 0 or hand.decoupled > 0 for hand in hands]

    def has_penalties(self, name: str) -> bool:
        """Whether a parameter has penalties beside L2 in any run."""
        return any(name == of for _, of in self._penalties)

    def add_penalties(self, name: str, weight: Tensor, sink: Tensor) -> None:
        """Add the gradients of the further penalties at one stacked weight."""
        for (_, of), (penalty, strengths) in self._penalties.items():
            if of == name:
                gradient = torch.zeros_like(weight)
                penalty.add_grad_(weight, gradient)
                factors = [self._strengths[hands[name].lr] for hands in self._hands]
                scaled = [strength * factor for strength, factor in zip(strengths, factors, strict=True)]
                sink.addcmul_(gradient, column(scaled, gradient))

    def keep(self, runs: Sequence[int]) -> None:
        """Let all but some runs leave."""
        self._hands = [self._hands[i] for i in runs]
        self._penalties = {
            place: (_of_runs(penalty, runs), [strengths[i] for i in runs])
            for place, (penalty, strengths) in self._penalties.items()
        }
        self._lay_out()

    def _lay_out(self) -> None:
        """Find the rates of the step that comes next."""
        rates = {hand.lr for hands in self._hands for hand in hands.values()}
        now = {rate: rate * self._lr_factor(rate) for rate in rates}
        for rate in rates:
            self._peak[rate] = max(self._peak.get(rate, rate), now[rate])
        self._strengths = {rate: self._factor(now[rate], self._peak[rate]) for rate in rates}
        self.lr = self._rows(lambda hand: now[hand.lr])
        self.lam = self._rows(lambda hand: hand.coupled * self._strengths[hand.lr])
        self.share = self._rows(lambda hand: now[hand.lr] * hand.decoupled * self._strengths[hand.lr])

    def _rows(self, value: Callable[[Hand], float]) -> dict[str, list[float]]:
        return {name: [value(hands[name.removesuffix(REST)]) for hands in self._hands] for name in self.names}

    def _lr_factor(self, rate: float) -> float:
        schedule = self.recipe.lr_schedule
        return 1.0 if schedule is None else schedule.factor(self.step, rate, rate)

    def _factor(self, rate: float, peak: float) -> float:
        schedule = self.recipe.schedule
        return 1.0 if schedule is None else schedule.factor(self.step, rate, peak)


def _stacked(
    bounds: Sequence[Bound | None], parameters: Mapping[str, Tensor]
) -> dict[tuple[str, str], tuple[Penalty, list[float]]]:
    """Return each penalty at strength 1, as it acts on a stacked weight, with its strength in each run."""
    found: dict[tuple[str, str], list[Penalty | None]] = {}
    for run, bound in enumerate(bounds):
        for term in bound.terms if bound is not None else ():
            found.setdefault((term.kind, term.placement.name), [None] * len(bounds))[run] = term.penalty
    return {
        place: (_on_stack(penalties, parameters[place[1]]), [each.strength if each else 0.0 for each in penalties])
        for place, penalties in found.items()
        if place[1] in parameters
    }


def _on_stack(penalties: Sequence[Penalty | None], weight: Tensor) -> Penalty:
    first: Any = next(each for each in penalties if each is not None)
    if isinstance(first, GroupLasso):
        # A unit of one run is no unit of another: the axis of runs counts units too.
        return replace(first, lam=1.0, unit_dims=(0, *(dim + 1 for dim in first.unit_dims or (0,))))
    if isinstance(first, L2SP):
        references = [each.reference if isinstance(each, L2SP) else torch.zeros_like(weight[0]) for each in penalties]
        return L2SP(1.0, reference=torch.stack([each for each in references if isinstance(each, Tensor)]))
    unit: Penalty = replace(first, lam=1.0)
    return unit


def _of_runs(penalty: Penalty, runs: Sequence[int]) -> Penalty:
    if isinstance(penalty, L2SP) and isinstance(penalty.reference, Tensor):
        return L2SP(1.0, reference=penalty.reference[list(runs)])
    return penalty
