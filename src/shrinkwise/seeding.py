"""Seeds and counter-based masks, each derived from named parts.

Nothing here reads or writes global random state, with one exception that is named so: :func:`isolated_rng`, for code that
we do not own (a module's initialiser, ``torch.nn.Dropout``) and that can draw from nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_WORD = 2**64


def derive(*parts: str | int) -> int:
    """Hash named parts to a seed in ``[0, 2**63)``.

    Parts keep their type and their place, so ``("a", 12)``, ``("a1", 2)`` and ``("a", "12")`` give three different seeds.

    Raises:
        TypeError: A part is neither a string nor an integer.

    >>> derive("order", 3) == derive("order", 3), derive("order", 3) == derive("order", "3")
    (True, False)
    """
    for part in parts:
        if not isinstance(part, str | int) or isinstance(part, bool):
            raise TypeError(f"a seed is derived from strings and integers, got {type(part).__name__}")
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_generator(*parts: str | int) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive`."""
    return torch.Generator().manual_seed(derive(*parts))


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`derive`."""
    return np.random.default_rng(derive(*parts))


@contextmanager
def isolated_rng(*parts: str | int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python from named parts inside the block, and restore them after it.

    For code that we do not own: what it draws inside depends on the parts alone, and nothing outside sees that it drew.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        _seed_torch(derive(*parts))
        random.seed(derive(*parts))
        np.random.seed(derive(*parts) % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _seed_torch(seed: int) -> None:
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is None or accelerator.is_available():
        torch.manual_seed(seed)
    else:
        # Where there is no other device, torch.manual_seed puts a note for CUDA, with a traceback, into a list that only grows.
        torch.default_generator.manual_seed(seed)


def mask_key(seed: int, step: int, layer: int) -> int:
    """Return the key of the mask that ``layer`` draws at optimiser step ``step``."""
    return derive("mask", seed, layer, step)


def keep_mask(shape: torch.Size | tuple[int, ...], rate: float, key: torch.Tensor) -> torch.Tensor:
    """Draw a boolean mask whose elements are False with probability ``rate``, from a counter-based generator.

    Element ``i`` is the ``i``-th output of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, section 3) started at ``key``. It is
    written in integer tensor operations, so a single run, a fleet and any other backend draw the same mask from the same key.

    Args:
        shape: Shape of the mask.
        rate: Probability of dropping an element, in ``[0, 1)``.
        key: int64 tensor, from :func:`mask_key`; a shape that broadcasts against ``(..., *shape)`` gives one mask a key.

    Returns:
        Boolean tensor of the broadcast shape, on the key's device.

    >>> mask = keep_mask((4, 1000), 0.25, torch.tensor(mask_key(seed=0, step=7, layer=1)))
    >>> bool((mask.float().mean() - 0.75).abs() < 0.02)
    True
    """
    return mask_words(shape, key) >= keep_threshold(rate)


def keep_threshold(rate: float) -> int:
    """Return the least of :func:`mask_words`'s numbers that is kept where a share ``rate`` is to be dropped; all are at rate 0."""
    return _signed(round(rate * _WORD) - _WORD // 2)


def mask_words(shape: torch.Size | tuple[int, ...], key: torch.Tensor) -> torch.Tensor:
    """Return the numbers that :func:`keep_mask` compares with a rate's threshold, for masks of many rates from one key.

    Args:
        shape: Shape of the mask.
        key: int64 tensor, as :func:`keep_mask` takes it.

    Returns:
        int64 tensor of the broadcast shape, uniform over all of int64 in its leading bits.
    """
    return mixed(mask_counter(shape, key.device) + key)


def mask_counter(shape: torch.Size | tuple[int, ...], device: torch.device | None = None) -> torch.Tensor:
    """Return what is added to a key for each element of a mask, an int64 tensor of that shape; see :func:`mixed`."""
    n = int(np.prod(shape, dtype=np.int64))
    return torch.arange(1, n + 1, dtype=torch.int64, device=device).mul_(_signed(_GOLDEN)).view(shape)


def mixed(bits: torch.Tensor) -> torch.Tensor:
    """Turn counters plus key, in place, into the numbers of :func:`mask_words`."""
    bits ^= _shift_right(bits, 30)
    bits *= _signed(_MIX_1)
    bits ^= _shift_right(bits, 27)
    bits *= _signed(_MIX_2)
    # SplitMix64 ends with x ^ (x >> 31), which leaves the leading 31 bits as they are; the comparison needs no more.
    return bits


def _shift_right(bits: torch.Tensor, by: int) -> torch.Tensor:
    """Shift right without the sign: torch's ``>>`` on int64 copies the sign bit in from the left."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(word: int) -> int:
    """Read the low 64 bits of ``word`` as a signed integer, the only kind that torch multiplies."""
    word %= _WORD
    return word - _WORD if word >= _WORD // 2 else word
