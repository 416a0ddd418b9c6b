"""Dropout in a fleet of dense chains: one stream of random numbers a group, compared with each run's own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.places import Places
from shrinkwise.experiments.engine.fleet.stack import column
from shrinkwise.regularization.dropout import Dropout
from shrinkwise.seeding import keep_threshold, mask_counter, mask_key, mixed

_WINDOW_ELEMENTS = 2**16
"""Random numbers that are drawn at once: half a mebibyte."""


_Part = tuple[Tensor, Tensor, Tensor]
"""Masks of some runs, with the thresholds and scales that make them."""


@dataclass(eq=False)
class _Layer:
    """The dropout of one hidden layer, in all runs.

    Attributes:
        form: The module of one run; its ``every``, ``hold``, ``backward`` and number are those of all.
        width: Units of the layer.
        rates: Rate of each run.
        words: Random numbers of the window, ``(step, group, unit, row)``.
        window: Steps that they are for: first and one past the last.
    """

    form: Dropout
    width: int
    rates: list[float]
    words: Tensor | None = None
    window: tuple[int, int] = (0, 0)

    def is_active(self, step: int) -> bool:
        return any(self.rates) and step % self.form.every == 0

    def drawn_at(self, step: int) -> int:
        return (step - 1) // self.form.hold * self.form.hold + 1


class Silencing:
    """Masks of the hidden layers of a fleet, scaled: 0 for a silenced unit and 1/(1−p) for a kept one.

    The runs of a group are to stand in the order of whether they have any dropout, those without it first.

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
        self._ready: dict[int, Tensor | None] = {}

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
        self._ready.clear()

    def mask(self, number: int) -> Tensor | None:
        """Return the scaled mask of a hidden layer, ``(run, unit, row)``; None where nothing is silenced at this step."""
        if number not in self._ready:
            self._ready[number] = self._made(number)
        return self._ready[number]

    def backward_mask(self, number: int) -> Tensor | None:
        """Return what the backward pass multiplies with, likewise."""
        layer = self._layers.get(number)
        return self.mask(number) if layer is not None and layer.form.backward == "masked" else None

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

    def _made(self, number: int) -> Tensor | None:
        layer = self._layers.get(number)
        if layer is None or not layer.is_active(self._step):
            return None
        words = self._words(layer)
        mask, columns = self._columns(number, layer)
        for drawn, part in zip(words, columns, strict=True):
            if part is not None:
                place, thresholds, scales = part
                torch.ge(drawn, thresholds, out=place)
                place.mul_(scales)
        return mask

    def _columns(self, number: int, layer: _Layer) -> tuple[Tensor, list[_Part | None]]:
        """Return the place of a layer's mask, and of each group the part that is drawn, with its thresholds and scales."""
        key = ("columns", number, self._n_rows)
        if key not in self._places.kept:
            mask = self._places("mask", number, (len(layer.rates), layer.width, self._n_rows)).fill_(1)
            thresholds = torch.tensor([keep_threshold(rate) for rate in layer.rates], device=mask.device).view(-1, 1, 1)
            scales = column([1 / (1 - rate) for rate in layer.rates], mask)
            parts: list[_Part | None] = []
            begin = 0
            for group in self.groups:
                end = begin + group.n_runs
                # Those without dropout come first, and their masks stay ones.
                first = next((i for i in range(begin, end) if layer.rates[i]), end)
                drawn = slice(first, end)
                parts.append((mask[drawn], thresholds[drawn], scales[drawn]) if first < end else None)
                begin = end
            self._places.kept[key] = (mask, parts)
        found: tuple[Tensor, list[_Part | None]] = self._places.kept[key]
        return found

    def _words(self, layer: _Layer) -> Tensor:
        """Return the random numbers of this step, ``(group, unit, row)``; those of the next steps are drawn with them."""
        begin, end = layer.window
        if not begin <= self._step < end:
            n_elements = len(self.groups) * layer.width * self._n_rows
            begin, end = self._step, self._step + max(1, _WINDOW_ELEMENTS // n_elements)
            keys = [
                [mask_key(seed, layer.drawn_at(step), layer.form.layer or 0) for seed in self._seeds] for step in range(begin, end)
            ]
            device = self.groups[0].x.device
            # A mask belongs to (row, unit) in that order; here rows come last.
            counter = mask_counter((self._n_rows, layer.width), device).t().contiguous()
            layer.words = mixed(counter + torch.tensor(keys, device=device)[:, :, None, None])
            layer.window = (begin, end)
        assert layer.words is not None
        return layer.words[self._step - begin]
