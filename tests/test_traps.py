"""The traps that people fall into where a penalty meets a network: each has tests of its name, here or where its room is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAPS = {
    "1": "a tied weight belongs to several modules and counts once",
    "2": "names over-match and miss: the type decides",
    "3": "sharding flattens, replaces and renames parameters",
    "4": "closures, fused optimisers, deep copies and clipping meet step hooks; and three ways of asking count thrice",
    "4b": "a penalty in the loss under scaling, accumulation and replicas",
    "5": "half precision: sums, and decay that rounds to nothing",
    "6": "no gradient is not a zero gradient",
    "7": "a penalty on top of an optimiser's default decay",
    "8": "load_state_dict replaces groups, and strengths go stale",
    "9": "a scheduled number is compiled anew, or frozen",
    "10": "a kernel is not what its name says",
    "11": "group lasso without the square root is L2",
    "12": "data loss and penalty apart; select on the unpenalised validation loss",
    "13": "weights before a normalisation are scale-invariant",
    "14": "an identity backward pass still silences the outgoing weights",
    "15": "periodic dropout counts optimiser steps, not forward calls",
    "16": "dropout under torch.func",
    "17": "a random state that is documented and ignored",
    "18": "torchvision beside a CPU torch cannot be imported",
}


@pytest.mark.parametrize(("trap", "what"), TRAPS.items())
def test_every_trap_has_a_test_of_its_name(trap, what):
    names = [name for file in (ROOT / "tests").glob("test_*.py") for name in re.findall(r"def (test_trap_\w+)", file.read_text())]
    assert any(name.startswith(f"test_trap_{trap}_") for name in names), what


def test_trap_18_nothing_that_we_ask_for_brings_torchvision():
    asked = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    assert not re.search(r"\b(torchvision|laplace-torch)\b", asked)
