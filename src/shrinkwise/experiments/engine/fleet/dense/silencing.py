"""Dropout in a fleet of dense chains: one stream of random numbers a group, compared with each run's own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.dense.places import Places
from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.regularization.dropout import Dropout
from shrinkwise.seeding import keep_threshold, mask_counter, mask_key, mixed

_WINDOW_ELEMENTS = 2**16
"""Random numbers that are drawn at once: half a mebibyte."""


@dataclass(eq=False, slots=True)
class _Part:
    """The runs of one group and one rate, which share a mask.

    Attributes:
        group: Number of their group.
        runs: Their places in the fleet.
        threshold: Least random number that keeps a unit.
        scale: What a kept unit is multiplied with.
        masks: Their masks of the window's steps, ``(step, unit, row)``.
        outs: What their layer gives, ``(run, unit, row)``, for each of ``runs``.
    """

    group: int
    runs: list[slice]
    threshold: int
    scale: float
    masks: Tensor
    outs: list[Tensor]


@dataclass(eq=False)
class _Layer:
    """The dropout of one hidden layer, in all runs.

    Attributes:
        form: The module of one run; its ``every``, ``hold``, ``backward`` and number are those of all.
        width: Units of the layer.
        rates: Rate of each run.
        window: Steps whose masks are drawn: first and one past the last.
    """

    form: Dropout
    width: int
    rates: list[float]
    window: tuple[int, int] = (0, 0)

    def is_active(self, step: int) -> bool:
        return any(self.rates) and step % self.form.every == 0

    def drawn_at(self, step: int) -> int:
        return (step - 1) // self.form.hold * self.form.hold + 1


class Silencing:
    """Masks of the hidden layers of a fleet, scaled: 0 for a silenced unit and 1/(1−p) for a kept one.

    Runs of one group and one rate share a mask.

    Args:
        modules: Number of a hidden layer -> its dropout in each run.
        widths: Number of a hidden layer -> its units.
        groups: Runs that share a batch.
    """

    def __init__(self, modules: dict[int, Sequence[Dropout]], widths: dict[int, int], groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._layers = {
            number: _Layer(each[0], widths[number], [dropout.p for dropout in each]) for number, each in modules.items()
        }
        # Runs of one group have one seed, and so have their dropouts.
        firsts, begin = [], 0
        for group in groups:
            firsts.append(begin)
            begin += group.n_runs
        any_layer = next(iter(modules.values()))
        self._seeds = [any_layer[first].seed or 0 for first in firsts]
        self._places = Places(groups[0].x)
        self._step, self._first, self._n_rows = 0, 0, 0

    def begin(self, first_step: int, n_rows: int) -> None:
        """Take the number of the first step of a chunk, from 1, and the rows of its batches."""
        self._first = first_step
        if n_rows != self._n_rows:
            self._n_rows = n_rows
            for layer in self._layers.values():
                layer.window = (0, 0)

    def go_to(self, i: int) -> None:
        """Go to the ``i``-th step of the chunk."""
        self._step = self._first + i

    def silence_(self, number: int, out: Tensor) -> None:
        """Multiply what a hidden layer gave, ``(run, unit, row)``, with its masks in place."""
        for part, mask in self._parts(number, out):
            for of_part in part.outs:
                of_part.mul_(mask)

    def silence_slope_(self, number: int, out: Tensor, slope: Tensor) -> None:
        """Multiply the gradient at what a hidden layer handed on with what its form of dropout puts there in the backward pass."""
        if number in self._layers and self._layers[number].form.backward == "masked":
            for part, mask in self._parts(number, out):
                for runs in part.runs:
                    slope[runs].mul_(mask)

    def is_reversible(self, number: int) -> bool:
        """Whether nothing but what was handed on is needed in the backward pass, so that activations can be silenced in place.

        Of a ReLU under masked dropout the two tell the same where the gradient is not silenced.
        """
        return number not in self._layers or self._layers[number].form.backward == "masked"

    def is_full(self, number: int) -> bool:
        """Whether the layer behind a hidden layer learns from unmasked activations."""
        layer = self._layers.get(number)
        return layer is not None and layer.form.backward == "full"

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave."""
        seed_of = {id(group.x): seed for group, seed in zip(self.groups, self._seeds, strict=True)}
        self._seeds = [seed_of[id(group.x)] for group in groups]
        self.groups = list(groups)
        for layer in self._layers.values():
            layer.rates, layer.window = [layer.rates[i] for i in runs], (0, 0)
        self._places.clear()

    def _parts(self, number: int, out: Tensor) -> list[tuple[_Part, Tensor]]:
        """Return the runs that are silenced at this step, each with its mask, ``(unit, row)``."""
        layer = self._layers.get(number)
        if layer is None or not layer.is_active(self._step):
            return []
        key = ("parts", number, self._n_rows)
        held = self._places.kept.get(key)
        if held is None or held[0] is not out:
            held = self._places.kept[key] = (out, self._cut(number, layer, out))
            layer.window = (0, 0)
        parts: list[_Part] = held[1]
        if not layer.window[0] <= self._step < layer.window[1]:
            self._draw(layer, parts)
        i = self._step - layer.window[0]
        return [(part, part.masks[i]) for part in parts]

    def _cut(self, number: int, layer: _Layer, out: Tensor) -> list[_Part]:
        """Return the runs of each group and rate, those without dropout left out."""
        parts: list[_Part] = []
        begin = 0
        for number_of_group, group in enumerate(self.groups):
            places = range(begin, begin + group.n_runs)
            for rate in dict.fromkeys(layer.rates[run] for run in places):
                if rate:
                    runs = slices([run for run in places if layer.rates[run] == rate])
                    masks = self._places(f"masks {runs[0].start}", number, (self._n_steps(layer), layer.width, self._n_rows))
                    outs = [out[these] for these in runs]
                    parts.append(_Part(number_of_group, runs, keep_threshold(rate), 1 / (1 - rate), masks, outs))
            begin += group.n_runs
        return parts

    def _n_steps(self, layer: _Layer) -> int:
        """Return for how many steps masks are drawn at once."""
        return max(1, _WINDOW_ELEMENTS // (len(self.groups) * layer.width * self._n_rows))

    def _draw(self, layer: _Layer, parts: Sequence[_Part]) -> None:
        """Draw the masks of this step and of those that come next."""
        steps = range(self._step, self._step + self._n_steps(layer))
        keys = [[mask_key(seed, layer.drawn_at(step), layer.form.layer or 0) for seed in self._seeds] for step in steps]
        device = self.groups[0].x.device
        # A mask belongs to (row, unit) in that order; here rows come last.
        counter = mask_counter((self._n_rows, layer.width), device).t().contiguous()
        words = mixed(counter + torch.tensor(keys, device=device)[:, :, None, None])
        for part in parts:
            # To copy what is kept and then to scale it takes a third of multiplying a number with it.
            part.masks.copy_(words[:, part.group] >= part.threshold).mul_(part.scale)
        layer.window = (steps.start, steps.stop)


def slices(places: Sequence[int]) -> list[slice]:
    """Return rising places as a slice, where they are evenly spaced, or else as one for each stretch without a gap.

    >>> slices([1, 3, 5]), slices([2, 3, 7])
    ([slice(1, 6, 2)], [slice(2, 4, 1), slice(7, 8, 1)])
    """
    steps = {after - before for before, after in pairwise(places)}
    if len(steps) <= 1:
        return [slice(places[0], places[-1] + 1, *(steps or {1}))]
    stretches = [list(these) for _, these in groupby(enumerate(places), key=lambda place: place[1] - place[0])]
    return [slice(these[0][1], these[-1][1] + 1, 1) for these in stretches]
