"""How many threads torch may use while one run trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limited_threads(n: int) -> Iterator[None]:
    """Give torch so many threads inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let numbers below the smallest normal one count as zero inside the block, as XLA lets them.

    The momentum of a weight whose input is hardly ever there decays through all of them, and a processor takes a hundred times as
    long for each. Holds for this thread; where a processor cannot do it, nothing changes.
    """
    was_flushing = float(torch.tensor(1e-39) * torch.tensor(1.0)) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)
