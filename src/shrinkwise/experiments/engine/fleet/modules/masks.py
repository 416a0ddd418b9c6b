"""Dropout of a fleet: each run has its own rate and its own masks, which are those of the run alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from shrinkwise.regularization.dropout import Backward, Dropout, dropouts
from shrinkwise.regularization.dropout.paths import with_value
from shrinkwise.seeding import keep_threshold, mask_key, mask_words


class Draw(NamedTuple):
    """What one dropout has to know of one step, for one run, or for several with a leading axis of runs.

    Attributes:
        key: Key of the mask that is drawn, int64, shape ``()`` or ``(run,)``; runs of one seed share theirs.
        threshold: Least of the mask's words that is kept, int64, likewise; the least int64 at rate 0.
        share: Share of elements that is kept, ``1 − p``, float64, likewise.
    """

    key: Tensor
    threshold: Tensor
    share: Tensor


class RunDropout(nn.Module):
    """Stands for a :class:`Dropout` in the network that is mapped over the runs.

    Attributes:
        backward: As the dropout has it.
        draw: What it has to know of the step, of one run as far as it can see; None where it does not act.
    """

    def __init__(self, backward: Backward) -> None:
        super().__init__()
        self.backward = backward
        self.draw: Draw | None = None

    def forward(self, x: Tensor, into: nn.Module | None = None) -> Tensor:
        """Return the dropped ``x``, or ``into(dropped x)``, as :meth:`Dropout.forward` does."""
        follow = _itself if into is None else into
        if not self.training or self.draw is None:
            return follow(x)
        mask = _scaled_mask(x, self.draw)
        if self.backward == "full":
            return with_value(lambda: follow(x * mask), follow(x))
        if self.backward == "identity":
            return follow(with_value(lambda: x * mask, x))
        return follow(x * mask)


def _scaled_mask(x: Tensor, draw: Draw) -> Tensor:
    # Where runs share the key it has no axis of runs, and their words are drawn once, whatever their rates.
    kept = mask_words(x.shape, draw.key) >= draw.threshold
    return kept.to(x.dtype) * draw.share.to(x.dtype).reciprocal()


def _itself(x: Tensor) -> Tensor:
    return x


def replace_dropouts(model: nn.Module) -> tuple[nn.Module, list[RunDropout]]:
    """Put a :class:`RunDropout` in the place of every :class:`Dropout` of a model, which is changed.

    Returns:
        The model, or what stands for it where it is a dropout itself; and what stands for its dropouts, by order of appearance.
    """
    standins = {id(dropout): RunDropout(dropout.backward) for dropout in dropouts(model)}
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if id(child) in standins:
                module._modules[name] = standins[id(child)]
    return standins.get(id(model), model), list(standins.values())


class Layer:
    """One dropout in all runs of a fleet; its form is the same in each, its rate and seed are each run's own.

    Args:
        places: It, in each run, placed in its model.
        device: Where masks are drawn.
    """

    def __init__(self, places: Sequence[Dropout], device: torch.device) -> None:
        self.places, self.device, self.form = list(places), device, places[0]
        self._seeds = [place.seed or 0 for place in places]
        self._threshold = torch.tensor([keep_threshold(place.p) for place in places], device=device)
        self._share = torch.tensor([1 - place.p for place in places], dtype=torch.float64, device=device)

    def draws(self, first_step: int, n_steps: int) -> list[Draw | None]:
        """Return what the dropout has to know of some steps, for all runs; the first is given; None where it does not act."""
        steps = range(first_step, first_step + n_steps)
        acts = [step % self.form.every == 0 and any(place.p for place in self.places) for step in steps]
        # Keys go to the device together: each copy by itself would wait for it.
        keys = torch.tensor([self._keys(step) for step, does in zip(steps, acts, strict=True) if does]).to(self.device)
        left = iter(keys)
        return [Draw(next(left), self._threshold, self._share) if does else None for does in acts]

    def keep(self, runs: Sequence[int]) -> Layer:
        """Return the same of some runs, in the order given."""
        return Layer([self.places[i] for i in runs], self.device)

    def _keys(self, step: int) -> list[int]:
        drawn_at = (step - 1) // self.form.hold * self.form.hold + 1
        of_seed = {seed: mask_key(seed, drawn_at, self.form.layer or 0) for seed in set(self._seeds)}
        return [of_seed[seed] for seed in self._seeds]


def layers_of(models: Sequence[nn.Module], device: torch.device) -> list[Layer]:
    """Return the dropouts of networks of one structure, each in all runs, by order of appearance."""
    return [Layer(places, device) for places in zip(*(dropouts(model) for model in models), strict=True)]
