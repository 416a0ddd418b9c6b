"""Each variant at its own best learning rate: strengths and learning rates interact, and one rate for all favours somebody."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shrinkwise.experiments.records import Condition, Record, Setting, Status, Variant, short
from shrinkwise.experiments.stats.answer import Answer
from shrinkwise.experiments.stats.words import listed, place

Place = tuple[Condition, Variant]
"""A variant, without a learning rate, within a condition."""


def with_rates(variants: Sequence[Variant], rates: Sequence[Setting]) -> tuple[Variant, ...]:
    """Return every variant at every learning rate; the variants as they are where no rates are given."""
    return tuple(Variant(**variant, lr=rate) for variant in variants for rate in rates) if rates else tuple(variants)


def rates_words(variants: Sequence[Variant]) -> dict[str, str]:
    """Return ``lr`` as a list of settings writes it, where variants bring their own; nothing where the optimiser's stays."""
    rates = sorted({float(variant["lr"]) for variant in variants if "lr" in variant})
    if len(rates) < 2:
        return {"lr": short(rates[0])} if rates else {}
    return {"lr": f"one of {listed(map(short, rates), most=len(rates))}"}


@dataclass(frozen=True, eq=False)
class OwnRates:
    """Which learning rate each variant is compared at.

    Attributes:
        rates: Those among which was chosen, by rising size.
        chosen: The one with the least validation loss of each variant within each condition.
        records: The runs at those rates, named by their variant without it.
        others: The runs at the other rates, as they are.
    """

    rates: tuple[Setting, ...]
    chosen: Mapping[Place, Setting]
    records: tuple[Record, ...]
    others: tuple[Record, ...]

    def told(self, answer: Answer) -> Answer:
        """Return an answer about ``records`` that says at which learning rate each of its rows was trained."""
        rows = tuple(replace(row, chosen={"lr": self.chosen[row.condition, row.variant]}) for row in answer.rows)
        return replace(answer, rows=rows, notes=(*(self._notes(answer) if len(self.rates) > 1 else ()), *answer.notes))

    def _notes(self, answer: Answer) -> Iterator[str]:
        tried = listed((f"{rate:g}" for rate in self.rates), most=len(self.rates))
        yield (
            f"Each variant was trained at the learning rates {tried} ({len(self.records) + len(self.others)} runs in all) and is"
            " compared at the one of least mean validation loss; test rows have no part in that choice."
        )
        for condition in answer.conditions:
            where = place(condition, is_only=len(answer.conditions) == 1)
            by_rate: dict[Setting, list[str]] = {}
            for variant in answer.variants:
                by_rate.setdefault(self.chosen[condition, variant], []).append(variant.name)
            said = [self._share(rate, names) for rate, names in sorted(by_rate.items(), key=lambda item: float(item[0]))]
            said[0] = f"{where}the best learning rate is {said[0]}"
            yield f"{said[0][:1].upper()}{said[0][1:]}{'; '.join(['', *said[1:]])}."

    def _share(self, rate: Setting, names: Sequence[str]) -> str:
        ends = {self.rates[0]: "smallest", self.rates[-1]: "largest"}
        edge = f", the {ends[rate]} of the list: one beyond it may be better still" if rate in ends else ""
        return f"{rate:g} for {listed(names, most=len(names))}{edge}"


def own_rates(records: Sequence[Record], select: str) -> OwnRates:
    """Choose the learning rate of each variant within each condition by its mean validation loss over seeds.

    A rate at which fewer runs end well never wins against one at which more do: a mean over the seeds that are left would flatter
    it. Of two that are equal the smaller is taken.

    Args:
        records: Runs of variants with an ``lr``.
        select: ``last`` or ``best-val``: which epoch's weights are judged.
    """
    runs: dict[Place, dict[Setting, list[Record]]] = {}
    for record in records:
        settings = dict(record.key.variant)
        rate = settings.pop("lr")
        runs.setdefault((record.key.condition, Variant(**settings)), {}).setdefault(rate, []).append(record)
    chosen = {where: min(by_rate, key=lambda rate: _badness(by_rate[rate], rate, select)) for where, by_rate in runs.items()}
    kept, others = [], []
    for (condition, variant), by_rate in runs.items():
        for rate, found in by_rate.items():
            if rate == chosen[condition, variant]:
                kept += [replace(record, key=replace(record.key, variant=variant)) for record in found]
            else:
                others += found
    rates = tuple(sorted({rate for by_rate in runs.values() for rate in by_rate}, key=float))
    return OwnRates(rates, chosen, tuple(kept), tuple(others))


def _badness(records: Sequence[Record], rate: Setting, select: str) -> tuple[int, float, float]:
    losses = [record.outcome(select).val["loss"] for record in records if record.status is Status.DONE]
    losses = [loss for loss in losses if math.isfinite(loss)]
    return len(records) - len(losses), float(np.mean(losses)) if losses else math.inf, float(rate)
