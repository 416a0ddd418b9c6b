"""Which networks can stand for each other in a stack: those of one structure, with like attributes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from shrinkwise.experiments.engine.fleet.modules.alike import same_structure
from shrinkwise.regularization.dropout import Dropout


def with_attribute(value: Any) -> nn.Module:
    module = nn.Linear(2, 2)
    module.value = value
    return module


def scaled_by(factor: float) -> Callable[[Any], Any]:
    return lambda x: factor * x


class Config:
    def __init__(self, width: int) -> None:
        self.width = width


ATTRIBUTES: list[tuple[Any, Any, bool]] = [
    (1, 1, True),
    (1, 2, False),
    (1, 1.0, False),
    ([1, {"a": 2}], [1, {"a": 2}], True),
    ([1, {"a": 2}], [1, {"a": 3}], False),
    (torch.ones(2), torch.ones(2), True),
    (torch.ones(2), torch.zeros(2), False),
    (np.ones(2), np.ones(2), True),
    (np.ones(2), np.zeros(2), False),
    (F.relu, F.relu, True),
    (F.relu, F.gelu, False),
    (scaled_by(2), scaled_by(2), True),
    (scaled_by(2), scaled_by(3), False),
    (Config(1), Config(1), True),
    (Config(1), Config(2), False),
    (count(), count(), False),
    (torch.Generator(), torch.Generator(), False),
]


@pytest.mark.parametrize(("one", "other", "is_same"), ATTRIBUTES)
def test_networks_are_alike_where_their_attributes_are(one, other, is_same):
    assert same_structure(with_attribute(one), with_attribute(other)) is is_same


def _tied_pair() -> nn.Module:
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair[1].weight = pair[0].weight
    return pair


def _with_odd_frozen() -> nn.Module:
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair[0].weight.requires_grad_(False)
    return pair


def _pair() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


STRUCTURES: dict[str, tuple[nn.Module, nn.Module, bool]] = {
    "rates": (nn.Sequential(Dropout(0.1)), nn.Sequential(Dropout(0.5)), True),
    "forms": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, backward="identity")), False),
    "steps of dropout": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, every=2)), False),
    "held masks": (nn.Sequential(Dropout(0.5)), nn.Sequential(Dropout(0.5, hold=2)), False),
    "torch's rates": (nn.Dropout(0.1), nn.Dropout(0.5), False),
    "strides": (nn.Conv1d(1, 1, 2), nn.Conv1d(1, 1, 2, stride=2), False),
    "eps": (nn.LayerNorm(3), nn.LayerNorm(3, eps=1e-3), False),
    "widths": (nn.Linear(2, 3), nn.Linear(2, 4), False),
    "a bias": (nn.Linear(2, 3), nn.Linear(2, 3, bias=False), False),
    "precision": (nn.Linear(2, 3), nn.Linear(2, 3).double(), False),
    "types": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh()), False),
    "ties": (_pair(), _tied_pair(), False),
    "tied alike": (_tied_pair(), _tied_pair(), True),
    "frozen": (_pair(), _with_odd_frozen(), False),
    "parametrised alike": (parametrizations.weight_norm(nn.Linear(2, 2)), parametrizations.weight_norm(nn.Linear(2, 2)), True),
    "parametrised": (parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear(2, 2), False),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_networks_are_alike_where_one_can_stand_for_the_other(name):
    one, other, is_same = STRUCTURES[name]
    assert same_structure(one, other) is is_same
    assert same_structure(other, one) is is_same
    assert same_structure(one, copy.deepcopy(one))
