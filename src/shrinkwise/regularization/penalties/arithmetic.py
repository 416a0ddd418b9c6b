"""Arithmetic that several penalties share: sums in float32 or better, additions in place, norms of slices."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shrinkwise.regularization.penalties.contract import Scale


def accumulator(weight: torch.Tensor) -> torch.dtype:
    """Return the dtype in which sums over ``weight`` are taken: float32, or its own where that is better."""
    return torch.promote_types(weight.dtype, torch.float32)


def add_scaled_(grads: Sequence[torch.Tensor], terms: Sequence[torch.Tensor], lam: float, scale: Scale) -> None:
    """Add ``lam·scale·term`` to each gradient in place, in one pass (foreach).

    Args:
        grads: Tensors of any shapes.
        terms: As many tensors, of the same shapes.
        lam: A number.
        scale: A number, or a 0-dim tensor, which is not read back.
    """
    if not grads and not terms:
        return
    if isinstance(scale, torch.Tensor):
        # The scale alone, 65,536 at a GradScaler's start, overflows float16; times lam it does not.
        torch._foreach_addcmul_(list(grads), list(terms), [scale * lam] * len(grads))
    else:
        torch._foreach_add_(list(grads), list(terms), alpha=lam * scale)


def norms(weight: torch.Tensor, dims: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return the Euclidean norms over ``dims``, which stay with size 1; over no dims, the absolute values.

    Args:
        weight: Tensor of any shape.
        dims: Dimensions to sum over.
        dtype: In which to sum.

    Returns:
        Tensor that broadcasts against ``weight``; its gradient at a slice of zeros is 0.
    """
    if not dims:  # torch reads an empty tuple as all dimensions
        return weight.to(dtype).abs()
    found: torch.Tensor = torch.linalg.vector_norm(weight, dim=dims, keepdim=True, dtype=dtype)
    # Where a DTensor is sharded along dims, torch would sum the shards' parts of norms; an operation on each norm joins them first.
    return found.clamp(min=0)


def all_but(dim: int, ndim: int) -> tuple[int, ...]:
    """Return the numbers of all dimensions but one.

    >>> all_but(1, 4)
    (0, 2, 3)
    """
    return tuple(d for d in range(ndim) if d != dim)


def largest(values: torch.Tensor) -> float:
    """Return the largest of non-negative values, and 0 where there is none."""
    if not values.numel():
        return 0.0
    found = values.max()
    gather = getattr(found, "full_tensor", None)  # of a DTensor, whose float() is that of the process's own shard
    return float(found if gather is None else gather())
