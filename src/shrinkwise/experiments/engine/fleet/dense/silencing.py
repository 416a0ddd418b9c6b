"""Dropout in a fleet of dense chains: one stream of random numbers a group, compared with each run's own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

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
    """Runs of one rate in consecutive groups that have the same rates; those of one group share a mask.

    Attributes:
        groups: Numbers of their groups.
        first: Place in the fleet of the first run of these groups.
        n_runs: Runs of each group, these and others.
        runs: Places within each group.
        threshold: Least random number that keeps a unit.
        scale: What a kept unit is multiplied with.
        masks: Their masks of the window's steps, ``(step, group, 1, unit, row)``.
    """

    groups: slice
    first: int
    n_runs: int
    runs: list[slice]
    threshold: int
    scale: float
    masks: Tensor

    def cut(self, stacked: Tensor) -> list[Tensor]:
        """Return what these runs have of a stack ``(run, unit, row)``: for each of ``runs`` a view ``(group, run, unit, row)``."""
        n_groups = self.groups.stop - self.groups.start
        mine = stacked[self.first : self.first + n_groups * self.n_runs].view(n_groups, self.n_runs, *stacked.shape[1:])
        return [mine[:, runs] for runs in self.runs]


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
        self._step, self._first, self._last, self._n_rows = 0, 0, 0, 0

    def begin(self, first_step: int, n_rows: int, n_left: int) -> None:
        """Take the number of the first step of a chunk, from 1, the rows of its batches, and how many steps go on with as many."""
        self._first, self._last = first_step, first_step + n_left - 1
        if n_rows != self._n_rows:
            self._n_rows = n_rows
            for layer in self._layers.values():
                layer.window = (0, 0)

    def go_to(self, i: int) -> None:
        """Go to the ``i``-th step of the chunk."""
        self._step = self._first + i

    def silence_(self, number: int, out: Tensor) -> None:
        """Multiply what a hidden layer gave, ``(run, unit, row)``, with its masks in place."""
        self._multiply_(number, "out", out)

    def silence_slope_(self, number: int, slope: Tensor) -> None:
        """Multiply the gradient at what a hidden layer handed on with what its form of dropout puts there in the backward pass."""
        if number in self._layers and self._layers[number].form.backward == "masked":
            self._multiply_(number, "slope", slope)

    def acts_on(self, number: int) -> bool:
        """Whether there is any dropout behind a hidden layer."""
        return number in self._layers

    def is_reversible(self, number: int) -> bool:
        """Whether a layer with dropout needs nothing but what it handed on in the backward pass: it can be silenced in place.

        Of a ReLU under masked dropout the two tell the same where the gradient is not silenced.
        """
        return self._layers[number].form.backward == "masked"

    def is_full(self, number: int) -> bool:
        """Whether the layer behind a hidden layer learns from unmasked activations."""
        layer = self._layers.get(number)
        return layer is not None and layer.form.backward == "full"

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave."""
        seed_of = {group.seed: seed for group, seed in zip(self.groups, self._seeds, strict=True)}
        self._seeds = [seed_of[group.seed] for group in groups]
        self.groups = list(groups)
        for layer in self._layers.values():
            layer.rates, layer.window = [layer.rates[i] for i in runs], (0, 0)
        self._places.clear()

    def _multiply_(self, number: int, name: str, stacked: Tensor) -> None:
        """Multiply what all runs have with the masks of this step, in place; a stack of one name is always the same."""
        layer = self._layers.get(number)
        if layer is None or not layer.is_active(self._step):
            return
        kept = self._places.kept
        parts: list[_Part] | None = kept.get((number, self._n_rows))
        if parts is None:
            parts = kept[number, self._n_rows] = self._cut(number, layer)
        held = kept.get((number, self._n_rows, name))
        if held is None or held[0] is not stacked:
            held = kept[number, self._n_rows, name] = (stacked, [part.cut(stacked) for part in parts])
        if not layer.window[0] <= self._step < layer.window[1]:
            self._draw(layer, parts)
        for part, views in zip(parts, held[1], strict=True):
            mask = part.masks[self._step - layer.window[0]]
            for view in views:
                view.mul_(mask)

    def _cut(self, number: int, layer: _Layer) -> list[_Part]:
        """Return the runs of each rate, in groups that have the same; those without dropout are left out."""
        parts: list[_Part] = []
        ends = list(accumulate(group.n_runs for group in self.groups))
        rates = [layer.rates[begin:end] for begin, end in pairwise([0, *ends])]
        number_of_group, first = 0, 0
        for of_each, alike in groupby(rates):
            n_groups = len(list(alike))
            groups = slice(number_of_group, number_of_group + n_groups)
            for rate in dict.fromkeys(rate for rate in of_each if rate):
                runs = slices([place for place, its in enumerate(of_each) if its == rate])
                shape = (self._n_steps(layer), n_groups, 1, layer.width, self._n_rows)
                masks = self._places(f"masks {len(parts)}", number, shape)
                parts.append(_Part(groups, first, len(of_each), runs, keep_threshold(rate), 1 / (1 - rate), masks))
            number_of_group, first = groups.stop, first + n_groups * len(of_each)
        return parts

    def _n_steps(self, layer: _Layer) -> int:
        """Return for how many steps masks are drawn at once."""
        return max(1, _WINDOW_ELEMENTS // (len(self.groups) * layer.width * self._n_rows))

    def _draw(self, layer: _Layer, parts: Sequence[_Part]) -> None:
        """Draw the masks of this step and of those that come next."""
        steps = range(self._step, min(self._step + self._n_steps(layer), self._last + 1))
        keys = [[mask_key(seed, layer.drawn_at(step), layer.form.layer or 0) for seed in self._seeds] for step in steps]
        device = self.groups[0].x.device
        # A mask belongs to (row, unit) in that order; here rows come last.
        counter = mask_counter((self._n_rows, layer.width), device).t().contiguous()
        words = mixed(counter + torch.tensor(keys, device=device)[:, :, None, None]).unsqueeze(2)
        for part in parts:
            # To copy what is kept and then to scale it takes a third of multiplying a number with it.
            part.masks[: len(steps)].copy_(words[:, part.groups] >= part.threshold).mul_(part.scale)
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
