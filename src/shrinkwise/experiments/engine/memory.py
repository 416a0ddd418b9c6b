"""How much memory there is to train in."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_UNKNOWN_BYTES = 2**32
"""Taken for free where a system tells nothing: half of it is what the smallest machines in use can spare."""


def free_bytes(device: str) -> int:
    """Return the memory that is free now, on a GPU or of this machine."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    left = _left_in_container()
    return _free_in_machine() if left is None else min(_free_in_machine(), left)


def _free_in_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN_BYTES


def _left_in_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what a container's limit leaves; None where there is no limit."""
    try:
        most, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return None if most == "max" else max(int(most) - int(used), 0)
    except (OSError, ValueError):
        return None
