"""Arithmetic that several penalties share: sums in float32 or better, additions in place, norms of slices; real or complex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from shrinkwise.regularization.penalties.contract import Scale


def accumulator(weight: torch.Tensor) -> torch.dtype:
    """Return the real dtype in which sums over ``weight`` are taken: float32, or its own where that is better."""
    # Complex dtypes apart: a compiled loss cannot ask a dtype for its real one.
    dtype = weight.dtype.to_real() if weight.is_complex() else weight.dtype
    return torch.promote_types(dtype, torch.float32)


def widened(weight: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return ``weight`` in the accumulator's dtype or in another real one; a complex weight in the complex dtype of that width."""
    dtype = dtype or accumulator(weight)
    return weight.to(dtype.to_complex() if weight.is_complex() else dtype)


def sum_of_squares(weight: torch.Tensor) -> torch.Tensor:
    """Return Σ|w|² as a real 0-dim tensor, summed in the weight's own dtype."""
    # Squares of both parts, and not of abs(), whose second derivative is undefined at zero.
    return (torch.view_as_real(weight.resolve_conj()) if weight.is_complex() else weight).square().sum()


def signs(weights: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Return w/|w| of each weight, 0 where w is 0; of real ones in one pass."""
    if any(weight.is_complex() for weight in weights):
        return [weight.sgn() for weight in weights]
    return torch._foreach_sign(list(weights))


def chunks(weights: Sequence[torch.Tensor]) -> Iterator[slice]:
    """Yield runs of weights that together are no larger than the largest weight, so that one pass holds no more than that.

    >>> [(part.start, part.stop) for part in chunks([torch.empty(n) for n in (2, 3, 5, 1, 4)])]
    [(0, 2), (2, 3), (3, 5)]
    """
    most, begin, held = max((weight.nbytes for weight in weights), default=0), 0, 0
    for i, weight in enumerate(weights):
        if held + weight.nbytes > most:
            yield slice(begin, i)
            begin, held = i, 0
        held += weight.nbytes
    if weights:
        yield slice(begin, len(weights))


def shorten_(weight: torch.Tensor, length: torch.Tensor, by: float) -> None:
    """Take ``by`` off the length of each group in place, and not beyond zero; ``by`` 0 leaves every bit.

    Args:
        weight: Tensor of any shape.
        length: The groups' norms, which broadcast against the weight.
        by: A number, 0 or above.
    """
    if by:
        weight.mul_(torch.where(length > by, (length - by) / length, 0.0))


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
        dtype: The real dtype in which to sum.

    Returns:
        Tensor that broadcasts against ``weight``; its gradient at a slice of zeros is 0.
    """
    if not dims:  # torch reads an empty tuple as all dimensions
        return widened(weight, dtype).abs()
    summed_in = dtype.to_complex() if weight.is_complex() else dtype
    found: torch.Tensor = torch.linalg.vector_norm(weight, dim=dims, keepdim=True, dtype=summed_in)
    # Where a DTensor is sharded along dims, torch would sum the shards' parts of norms; an operation on each norm joins them first.
    return found.clamp(min=0)


def largest(values: torch.Tensor) -> float:
    """Return the largest of non-negative values, and 0 where there is none."""
    if not values.numel():
        return 0.0
    found = values.max()
    gather = getattr(found, "full_tensor", None)  # of a DTensor, whose float() is that of the process's own shard
    return float(found if gather is None else gather())
