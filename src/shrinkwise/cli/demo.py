"""``shrinkwise demo``: the classic experiment on the handwritten digits that scikit-learn brings."""

from __future__ import annotations

from typing import Any

from shrinkwise.cli.command import Command
from shrinkwise.cli.compare import run
from shrinkwise.cli.flags import flags_of

DEMO = {
    "data": "digits",
    "classes": "0-4",
    "l2": "0,0.01,0.1,1",
    "dropout": "0,0.5",
    "label_noise": "0,0.2",
    "epochs": 100,
}

_MEANS = {"as_json", "verbose", "jobs", "engine", "device", "memory"}
"""Flags that leave it the same experiment, kept in the same folder."""


@flags_of(Command)
def demo(**flags: Any) -> None:
    """Run the classic experiment: digits 0-4, base against L2 against dropout, clean and noisy labels, ten seeds.

    It is `compare` with other defaults, and takes the same flags. Example: shrinkwise demo --seeds 20
    """
    run(DEMO | flags, name="demo" if not flags.keys() - _MEANS else "")
