"""Decay that a weight's precision rounds to nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch

from shrinkwise.errors import DecayRoundingWarning


def lost_to(weights: Iterable[torch.Tensor], shrink: float) -> torch.dtype | None:
    """Return a half-precision dtype in which a multiplication by ``1 − shrink`` changes no weight, if there is one.

    A weight w·(1 − x) is w again, for every w, where x is below a quarter of eps: 2⁻⁹ in bfloat16, 2⁻¹² in float16. In float32
    only a shrink is lost that is nothing beside the step's own rounding, as at either end of a schedule.
    """
    narrow = {weight.dtype for weight in weights if torch.finfo(weight.dtype).bits < 32}
    return next((dtype for dtype in narrow if 0 < shrink < torch.finfo(dtype).eps / 4), None)


def warn_of_rounding(dtype: torch.dtype, shrink: float) -> None:
    """Say that a decay does nothing, and what to do about it."""
    warnings.warn(
        f"decay is lost: a step shrinks a weight by {shrink:.2g} of itself, and {dtype} rounds that to nothing. "
        "Keep the weights that the optimiser steps in float32 (autocast leaves them so), or raise the strength.",
        DecayRoundingWarning,
        stacklevel=2,
    )
