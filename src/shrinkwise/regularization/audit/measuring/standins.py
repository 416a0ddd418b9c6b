"""What one step of an optimiser's own arithmetic does to small tensors that stand for the parameters.

A stand-in has a parameter's number of dimensions, dtype and device and a few of its values, so that an optimiser which looks at
these treats it alike, and a device that the model fills has room for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.audit.groups import peak_lr
from shrinkwise.regularization.audit.measuring.laws import Laws, laws_of
from shrinkwise.regularization.audit.measuring.trial import CannotRebuildError, Change, Trial, with_lr
from shrinkwise.regularization.rules.snapshot import local
from shrinkwise.seeding import torch_generator

_SIDE = 4
_TYPICAL_SIZE = 0.02
_TINY = 1e-15
_GATHERING_STEPS = 64
_LARGE_EPS = 1e-3


@dataclass(frozen=True)
class Measured:
    """What one step with zero gradient did to the stand-in of a parameter.

    Attributes:
        shrink: Fraction of the weight that it removed, step hooks of ours included.
        lost: What it should remove at the highest learning rate of its schedule, if rounding swallows that; else 0.
        laws: What it would remove without rounding, and how that depends on the weight and its gradient.
    """

    shrink: float
    lost: float
    laws: Laws


def measure(optimizer: Optimizer, sparse: frozenset[int] = frozenset()) -> dict[int, Measured]:
    """Step an optimiser of the same class and options on stand-ins of its parameters, from an empty state.

    The optimiser, its parameters, their gradients and every random generator stay untouched. Its step hooks do not run, except
    those that can be put onto stand-ins: ours, and hooks with a method ``on_standins(mapping)`` that returns a hook for them.

    Args:
        optimizer: Any torch optimiser.
        sparse: Identities of parameters whose gradients are sparse.

    Returns:
        What happened, by the identity of the parameter. Parameters that are no floating-point numbers are left out.

    Raises:
        CannotRebuildError: The optimiser could not be rebuilt, or its step failed; the message says why.
    """
    real = {id(p): p for group in optimizer.param_groups for p in group["params"] if p.is_floating_point()}
    blocks = {key: _block(parameter) for key, parameter in real.items()}
    trial = Trial(optimizer, real, sparse)
    shrink, tame = trial.shrinks(blocks), _as_it_is
    if any(not math.isfinite(fraction) for fraction in shrink.values()):
        # In float16 an eps of 1e-8 is zero, and zero gradients are divided by it.
        tame = _with_large_eps
        shrink = trial.shrinks(blocks, changes=tame)
    try:
        exact = {key: (block.cpu() if block.device.type == "mps" else block).double() for key, block in blocks.items()}
        laws = laws_of(trial, exact)
    except CannotRebuildError:
        # Some kernels know one dtype only.
        exact = blocks
        laws = laws_of(trial, blocks)
    unrounded = {key: law.unrounded for key, law in laws.items()}
    suspects = {key: unrounded[key] for key in blocks if _is_less(shrink[key], unrounded[key])}
    gathering = _gathering(trial, blocks, suspects, tame) if suspects else frozenset()
    lost = _lost(trial, blocks, exact, suspects.keys() - gathering, tame)
    return {key: Measured(unrounded[key] if key in gathering else shrink[key], lost.get(key, 0.0), laws[key]) for key in real}


def _gathering(trial: Trial, blocks: dict[int, torch.Tensor], suspects: dict[int, float], tame: Change) -> frozenset[int]:
    """Return which parameters move after some steps though one is lost: master weights and compensated sums gather such steps.

    The learning rate is set so that one step is far below the rounding of the dtype, and all together are well above it.
    """
    eps = {key: torch.finfo(blocks[key].dtype).eps for key in suspects}
    wanted = {id(trial.real[key]): eps[key] / 16 / abs(suspects[key]) for key in suspects}

    def changes(options: dict[str, Any]) -> dict[str, Any]:
        factors = [wanted[id(p)] for p in options["params"] if id(p) in wanted]
        lr = options["lr"] * min(factors) if factors and options.get("lr") is not None else None
        return tame(options) | with_lr(options, lr)

    moved = trial.shrinks(blocks, changes=changes, n_steps=_GATHERING_STEPS)
    return frozenset(key for key in suspects if abs(moved[key]) > eps[key] / 2)


def _lost(
    trial: Trial, blocks: dict[int, torch.Tensor], exact: dict[int, torch.Tensor], suspects: Collection[int], tame: Change
) -> dict[int, float]:
    """Return what rounding swallows at the highest learning rate that a schedule is known to reach."""
    if not suspects:
        return {}

    def at_peak(options: dict[str, Any]) -> dict[str, Any]:
        return tame(options) | with_lr(options, peak_lr(options))

    shrink, unrounded = trial.shrinks(blocks, changes=at_peak), trial.shrinks(exact, changes=at_peak)
    return {key: unrounded[key] for key in suspects if _is_less(shrink[key], unrounded[key])}


def _as_it_is(options: dict[str, Any]) -> dict[str, Any]:
    return {}


def _with_large_eps(options: dict[str, Any]) -> dict[str, Any]:
    return {"eps": _LARGE_EPS} if "eps" in options else {}


def _is_less(shrink: float, unrounded: float) -> bool:
    """Whether most of what should be removed is not."""
    return abs(shrink) < abs(unrounded) / 2


@torch.no_grad()
def _block(parameter: nn.Parameter) -> torch.Tensor:
    """Return a few values of a parameter, with its number of dimensions; of a typical size where it has none or next to zeros."""
    values = local(parameter)
    # Spread over the whole: the first rows of an embedding may be special, and a pruned corner is no sample.
    strides = [max(1, n // _SIDE) for n in values.shape]
    block = values[tuple(slice(stride // 2, None, stride) for stride in strides)][(slice(0, _SIDE),) * values.dim()]
    if not values.is_meta and block.numel() and bool(block.isfinite().all()) and bool((block.abs() > _TINY).any()):
        return block.clone(memory_format=torch.contiguous_format)
    device = torch.device("cpu") if values.is_meta else values.device
    drawn = torch.randn((_SIDE,) * values.dim(), generator=torch_generator("audit", "standin")) * _TYPICAL_SIZE
    return drawn.to(device, values.dtype)
