"""By what and for how long runs are trained, as a user says it: read and checked before anything is made."""

from __future__ import annotations

import re
from typing import Any

import torch

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.experiments.scalars import scalar, whole
from shrinkwise.regularization.apply import check_schedule
from shrinkwise.regularization.strength.schedules import ProportionalToLr, Schedule

ENGINES = ("auto", "single", "fleet")
DEVICES = ("auto", "cpu", "cuda")
_MEMORY = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e\+?\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_LEAST_BYTES = 10**6
"""Less than this holds no run: its unit was forgotten."""
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def read_device(device: str) -> str:
    """Return the device that is meant: ``auto`` is the GPU where there is one.

    Raises:
        SettingError: It is unknown, or not there.
    """
    check_choice("device", device, DEVICES)
    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        cause = "this torch sees no GPU" if torch.version.cuda else "this torch was built for the CPU alone"
        raise SettingError("device is 'cuda'", cause, "take device 'cpu', or 'auto', which takes a GPU where there is one")
    return "cpu"


def read_memory(memory: Any) -> int | None:
    """Return how much memory may be taken, in bytes, or None where nothing is said.

    Args:
        memory: A number of bytes, or text with a unit.

    Raises:
        SettingError: It is no amount of memory, or one in which nothing can be trained.

    >>> read_memory("4GB"), read_memory("1.5 GiB"), read_memory("1e9"), read_memory(None)
    (4000000000, 1610612736, 1000000000, None)
    """
    if memory is None:
        return None
    number = scalar(memory)
    if isinstance(memory, str) and (found := _MEMORY.fullmatch(memory.strip())):
        number = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
    if number is None or not 1 <= number < float("inf"):
        raise SettingError(f"memory is {memory!r}", "it is an amount of memory", "give a number of bytes, or such as '4GB'")
    if number < _LEAST_BYTES:
        cause = f"in bytes that is {number:,.0f}, in which nothing can be trained"
        raise SettingError(f"memory is {memory!r}", cause, "give it with its unit, such as '4GB': a plain number counts bytes")
    return int(number)


def read_patience(patience: Any) -> int | None:
    """Return the epochs to wait for a better validation loss, or None for ever.

    Raises:
        SettingError: It is no count.
    """
    n = whole(patience)
    if patience is not None and (n is None or n < 1):
        raise SettingError(f"patience is {patience!r}", "it is a number of epochs", "give a whole number from 1, or None")
    return n


def check_schedules(schedule: Schedule | None, lr_schedule: Schedule | None) -> None:
    """Check what λ and the learning rate follow.

    Raises:
        SettingError: Something is no schedule, or the learning rate is to follow itself.
    """
    for name, given in (("schedule", schedule), ("lr_schedule", lr_schedule)):
        if given is not None:
            check_schedule(given, name)
    if isinstance(lr_schedule, ProportionalToLr):
        cause = "the learning rate would follow itself, and stay as it is"
        raise SettingError(f"lr_schedule is {lr_schedule!r}", cause, "give such as Cosine(10_000); for λ it is schedule=")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a word is one of a few.

    Raises:
        SettingError: It is not.
    """
    if value not in choices:
        raise SettingError(f"{name} is {value!r}", f"{name} is one of {', '.join(choices)} here", did_you_mean(str(value), choices))
