"""What makes a training function the same: everything of its own module that it reaches, and nothing that changes by itself."""

from __future__ import annotations

import collections
import logging
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from shrinkwise.experiments.identity import function_identity

CONFIG = types.SimpleNamespace(lr=0.1, inner=types.SimpleNamespace(depth=2))
CONFIG.me = CONFIG
WORDS = {"a", "b"}
ROWS = np.zeros(3)
WEIGHTS = torch.zeros(2, dtype=torch.bfloat16)
QUEUE = collections.deque([1])
SIZE = 3
FOLDER = Path("data")
LOG, LOCK = logging.getLogger("own"), threading.Lock()


class Base:
    rate = 0.1

    def start(self):
        return SIZE


class Model(Base):
    __slots__ = ("width",)

    def __init__(self):
        self.width = 1

    @staticmethod
    def step(x):
        return helper(x)

    @property
    def folder(self):
        return FOLDER


def helper(x):
    return x + 1


def other_helper(x):
    return x + 2


MODEL = Model()


def train(trial):
    LOG.info("training")
    with LOCK:
        return CONFIG.lr, WORDS, ROWS, WEIGHTS, QUEUE, MODEL.step(trial["l2"]), trial["l2"] in {"x", "y", "z"}


CHANGES = {
    "a field of a namespace": lambda patch: patch.setattr(CONFIG, "lr", 0.2),
    "a field further in": lambda patch: patch.setattr(CONFIG.inner, "depth", 3),
    "a set": lambda patch: patch.setitem(globals(), "WORDS", {"a", "c"}),
    "an array": lambda patch: patch.setitem(globals(), "ROWS", np.ones(3)),
    "the shape of an array": lambda patch: patch.setitem(globals(), "ROWS", np.zeros((3, 1))),
    "a tensor": lambda patch: patch.setitem(globals(), "WEIGHTS", torch.ones(2, dtype=torch.bfloat16)),
    "a deque": lambda patch: patch.setitem(globals(), "QUEUE", collections.deque([2])),
    "a slot": lambda patch: patch.setattr(MODEL, "width", 2),
    "an attribute of a class, set at run time": lambda patch: patch.setattr(Model, "rate", 0.2, raising=False),
    "an attribute of its base": lambda patch: patch.setattr(Base, "rate", 0.2),
    "what a method of its base reads": lambda patch: patch.setitem(globals(), "SIZE", 4),
    "what a static method calls": lambda patch: patch.setitem(globals(), "helper", other_helper),
    "what a property reads": lambda patch: patch.setitem(globals(), "FOLDER", Path("elsewhere")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_function_reaches_is_part_of_it(name, monkeypatch):
    before = function_identity(train)
    CHANGES[name](monkeypatch)
    assert function_identity(train) != before
    monkeypatch.undo()
    assert function_identity(train) == before


def test_what_changes_by_itself_is_no_part_of_it(monkeypatch):
    before = function_identity(train)
    LOG.addHandler(logging.NullHandler())
    assert FOLDER.parts[-1] == str(FOLDER)
    with LOCK:
        assert function_identity(train) == before


def test_two_lambdas_on_a_line_differ():
    one, other = (lambda trial: trial["l2"] + 1), (lambda trial: trial["l2"] + 2)
    assert function_identity(one) != function_identity(other)


def test_neighbours_are_not_taken_together():
    def holding(*values):
        return lambda trial: values

    assert len({function_identity(holding(*values)) for values in ([[1], [2]], [[1, 2], []], [[], [1, 2]], [1, 2])}) == 4


def test_the_order_of_sets_in_another_process_is_no_difference():
    code = "import test_own_code, shrinkwise.experiments.identity as i; print(i.function_identity(test_own_code.train))"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].startswith("train ")
