"""A function of tensors that is traced once it is called often: its operators remain, without autograd around them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

_CALLS_BEFORE = 3
"""Tracing takes as long as some tens of calls."""
_TOLERANCE = 1e-4

Function = Callable[..., list[Tensor]]


class Traced:
    """A function from tensors to a list of tensors, replaced by its trace after a few calls.

    Whatever it depends on has to be among its arguments, whose shapes are always the same: all else becomes a constant of the
    trace. The first call after tracing computes both ways; where they do not agree, or where tracing fails, the function stays
    as it is.

    Args:
        function: It, free of effects.
    """

    def __init__(self, function: Function) -> None:
        self._function, self._n_calls = function, 0
        self._graph: GraphModule | None = None

    @torch.no_grad()
    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Return what the function gives."""
        self._n_calls += 1
        if self._n_calls == _CALLS_BEFORE:
            self._graph = _trace(self._function, tensors)
        if self._graph is None:
            return self._function(*tensors)
        found: list[Tensor] = self._graph(*tensors)
        if self._n_calls == _CALLS_BEFORE + 1:
            wanted = self._function(*tensors)
            if not _is_close(found, wanted):
                self._graph = None
                return wanted
        return found


def _trace(function: Function, tensors: tuple[Tensor, ...]) -> GraphModule | None:
    try:
        return make_fx(function)(*tensors)
    except Exception:  # noqa: BLE001  a trace only saves time, and anything may come out of a user's network in a new setting
        return None


def _is_close(found: list[Tensor], wanted: list[Tensor]) -> bool:
    """Whether two results are one but for rounding; gradients that are nothing else are as large as the largest says."""
    largest = max(float(tensor.abs().nan_to_num().max()) for tensor in wanted if tensor.is_floating_point())
    return all(
        torch.allclose(one.double(), other.double(), rtol=100 * _TOLERANCE, atol=_TOLERANCE * largest, equal_nan=True)
        for one, other in zip(found, wanted, strict=True)
    )
