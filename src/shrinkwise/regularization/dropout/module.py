"""Dropout whose masks are keyed by seed, step, layer and element, in the standard form and in the article's."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import torch
from torch import nn

from shrinkwise.errors import ModelError, SettingError, did_you_mean
from shrinkwise.regularization.dropout.paths import with_value
from shrinkwise.seeding import keep_mask, mask_key

Backward = Literal["masked", "identity", "full"]
"""What the backward pass does with silenced elements: see :class:`Dropout`."""

_UNSET = -1
_CAN_FOLLOW_FULL = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Dropout(nn.Module):
    r"""Silence each element with probability ``p`` while training; in eval mode the identity.

    With m = 0 for a silenced element and 1 for a kept one, every form gives x·m/(1−p) in the forward pass, whose mean over
    masks is x. The forms differ in the factor that the backward pass puts on the gradient:

    * ``masked``: m/(1−p), the derivative of the forward pass (Srivastava et al., JMLR 2014; scaled while training).
    * ``identity``: 1, the mean of m/(1−p), so silenced elements go on learning. The weights that lead from them do not: they
      saw zeros.
    * ``full``: 1, and the gradient of the layer that reads them is taken at the unmasked x as well, so nothing is silenced in
      the backward pass (Gao et al., "Demystifying Dropout", ICML 2019: drop in the forward pass only). The module has to call
      that layer itself: ``into``.

    Steps are the optimiser's, counted from 1, never forward calls: two forwards in one step, by gradient accumulation or by
    activation checkpointing, draw one mask, and so does a module that is called twice. ``every`` and ``hold`` have no paper:
    they are two readings of "every certain number of iterations". ``state_dict`` carries seed, layer and step.

    Args:
        p: Probability of silencing an element, in ``[0, 1)``.
        every: Masks act at steps ``every``, ``2·every``, ... only; between them the module is the identity.
        hold: A mask is drawn at step 1, ``1 + hold``, ``1 + 2·hold``, ... and kept until the next is drawn. It belongs to positions
            (row of the batch, feature), as every mask here does, not to examples.
        backward: ``masked``, ``identity`` or ``full``.

    Attributes:
        seed: Seed of the run; None before :func:`place_dropout`. ``layer``, the module's number in the model, likewise.

    Raises:
        SettingError: ``p``, ``every``, ``hold`` or ``backward`` is out of range.

    The mask is drawn, and the values that are kept are doubled at ``p = 0.5``:

    >>> dropout = Dropout(0.5)
    >>> place_dropout(dropout, seed=0)
    >>> set_step(dropout, 1)
    >>> dropout(torch.ones(6)).tolist()
    [0.0, 2.0, 2.0, 0.0, 0.0, 2.0]
    >>> dropout.eval()(torch.ones(6)).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, *, every: int = 1, hold: int = 1, backward: Backward = "masked") -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise SettingError(f"dropout p is {p!r}", "p is the share of silenced elements", "give 0 or above, and below 1")
        for name, steps in (("every", every), ("hold", hold)):
            _check_count(steps, f"dropout {name}")
        if backward not in get_args(Backward):
            mend = did_you_mean(str(backward), get_args(Backward))
            raise SettingError(f"dropout backward is {backward!r}", "there is no such backward pass", mend)
        self.p = float(p)
        self.every = every
        self.hold = hold
        self.backward: Backward = backward
        self.seed: int | None = None
        self.layer: int | None = None
        # What forward reads of the three: a compiled forward would freeze the step, or be compiled anew for each.
        self._is_active = False
        self._key = torch.zeros((), dtype=torch.int64)
        self.step = None

    @property
    def step(self) -> int | None:
        """The optimiser step that is being trained, from 1; None as long as nobody said."""
        return self._step

    @step.setter
    def step(self, step: int | None) -> None:
        self._step = step
        self._look_up_mask()

    def place(self, seed: int, layer: int) -> None:
        """Take a seed and a number in the model."""
        self.seed, self.layer = seed, layer
        self._look_up_mask()

    def _look_up_mask(self) -> None:
        """Find the key of this step's mask, and whether it acts."""
        self._is_ready = None not in (self.seed, self.layer, self.step)
        if self.seed is not None and self.layer is not None and self.step is not None:
            self._is_active = self.step % self.every == 0
            drawn_at = (self.step - 1) // self.hold * self.hold + 1
            # In place: to a compiled forward another tensor would be another graph.
            self._key.fill_(mask_key(self.seed, drawn_at, self.layer))

    @classmethod
    def article(cls, p: float = 0.5) -> Self:
        """Return the article's dropout: every 10th step neurons are paused, and in the backward pass none is."""
        return cls(p, every=10, backward="full")

    def forward(self, x: torch.Tensor, into: nn.Module | None = None) -> torch.Tensor:
        """Return the dropped ``x``, or ``into(dropped x)`` where ``into`` is given.

        Args:
            x: Floating-point tensor of any shape.
            into: The layer that reads the dropped ``x``; ``full`` needs it, and needs it to be Linear or Conv1d, 2d, 3d.

        Returns:
            A tensor of ``x``'s shape, or what ``into`` makes of it.

        Raises:
            ModelError: ``into`` does not fit ``full``; or, while training, the module has no place in a model or no step.
        """
        if self.backward == "full" and not isinstance(into, _CAN_FOLLOW_FULL):
            got = "nothing" if into is None else type(into).__name__
            cause = "the layer behind it has to see unmasked activations in the backward pass: a Linear or a Conv1d, 2d, 3d can"
            raise ModelError(f"dropout with backward='full' feeds {got}", cause, "call dropout(x, into=layer), or use 'identity'")
        follow = _itself if into is None else into
        if not self.training or self.p == 0:
            return follow(x)
        self._check_ready()
        if not self._is_active:
            return follow(x)
        mask = self._scaled_mask(x)
        if self.backward == "full":
            return with_value(lambda: follow(x * mask), follow(x))
        if self.backward == "identity":
            return follow(with_value(lambda: x * mask, x))
        return follow(x * mask)

    def _scaled_mask(self, x: torch.Tensor) -> torch.Tensor:
        return keep_mask(x.shape, self.p, self._key.to(x.device)).to(x.dtype).div_(1 - self.p)

    def _check_ready(self) -> None:
        """Say which call gives what is missing, if anything is."""
        if self._is_ready:
            return
        if self.seed is None or self.layer is None:
            cause = "without a seed and a number of its own all its masks would be those of every other dropout"
            raise ModelError("this dropout has no place in a model", cause, "call place_dropout(model, seed) before training")
        if self.step is None:
            cause = "a mask belongs to an optimiser step"
            mend = "call count_steps(model, optimizer) once before training, or set_step(model, step) before each step"
            raise ModelError("this dropout was not told the step", cause, mend)

    def get_extra_state(self) -> torch.Tensor:
        """Return seed, layer and step as an int64 tensor of shape ``(3,)``, −1 for what is not known yet."""
        return torch.tensor([_UNSET if part is None else part for part in (self.seed, self.layer, self.step)])

    def set_extra_state(self, state: Any) -> None:
        """Take seed, layer and step from :meth:`get_extra_state`'s tensor, as far as they were known when it was saved."""
        for name, part in zip(("seed", "layer", "step"), state.tolist(), strict=True):
            if part != _UNSET:
                setattr(self, name, part)
        self._look_up_mask()

    def extra_repr(self) -> str:
        """Name the settings as the constructor takes them."""
        return f"p={self.p:g}, every={self.every}, hold={self.hold}, backward={self.backward!r}"


def place_dropout(model: nn.Module, seed: int) -> None:
    """Give every :class:`Dropout` in a model the seed, and a number by order of appearance, from 0.

    Placing again changes the seed and keeps the step.

    Args:
        model: Any module; one without dropout is left as it is.
        seed: Seed of the run, in ``[0, 2**63)``.

    Raises:
        SettingError: The seed is no integer in that range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        mend = "give an integer from 0 to 2**63 - 1"
        raise SettingError(f"the seed of dropout is {seed!r}", "it is kept as a 64-bit integer", mend)
    for number, dropout in enumerate(dropouts(model)):
        dropout.place(seed, number)


def set_step(model: nn.Module, step: int) -> None:
    """Tell every :class:`Dropout` in a model which optimiser step is being trained.

    Args:
        model: Any module; one without dropout is left as it is.
        step: Number of the step, from 1; all forwards up to that step's ``optimizer.step()`` belong to it.

    Raises:
        SettingError: ``step`` is no integer, or below 1.
    """
    _check_count(step, "step")
    for dropout in dropouts(model):
        dropout.step = step


def dropouts(model: nn.Module) -> list[Dropout]:
    """Return every :class:`Dropout` in a model, by order of appearance, each once."""
    return [module for module in model.modules() if isinstance(module, Dropout)]


def _itself(x: torch.Tensor) -> torch.Tensor:
    return x


def _check_count(number: int, name: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise SettingError(f"{name} is {number!r}", "it counts optimiser steps from 1", "give 1 or a larger integer")
