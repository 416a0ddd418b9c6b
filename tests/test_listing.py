"""What a bound regularizer says of itself."""

from __future__ import annotations

import pytest
from torch import nn

from cases import CustomNorm, TiedLanguageModel
from shrinkwise.regularization.apply import Regularizer


def test_a_listing_names_what_acts_what_is_free_and_what_is_tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), TiedLanguageModel(is_head_first=False))
    bound = Regularizer(l2=0.1, l1={"2.head.weight": 0.01}).bind(model)
    assert str(bound).splitlines() == [
        "l2 0.1: 0.weight",
        "l1 0.01: 2.embedding.weight",
        "free, bias: 0.bias",
        "free, norm: 1.weight, 1.bias",
        "huggingface would also penalise: 2.embedding.weight",
        "timm would also penalise: 2.embedding.weight",
    ]


@pytest.mark.filterwarnings("ignore:l2 acts on nothing")
def test_a_tied_head_counts_as_embedding_and_is_listed_so():
    said = str(Regularizer(l2=0.1).bind(TiedLanguageModel(is_head_first=False)))
    assert "free, embedding: embedding.weight (embedding.weight is also head.weight)" in said


def test_repeated_layers_are_folded_and_frozen_ones_told_apart():
    model = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))
    model[3].requires_grad_(False)
    assert str(Regularizer(l2=1.0).bind(model)).splitlines() == [
        "l2 1: [0-2].weight (3 parameters)",
        "free, bias: [0-2].bias (3 parameters)",
        "frozen: 3.weight, 3.bias",
    ]


def test_what_another_would_leave_free_is_told_too():
    model = nn.Sequential(nn.Linear(3, 3), CustomNorm(3))
    said = str(Regularizer(l2=0.1, apply_to="huggingface").bind(model))
    assert "huggingface would" not in said
    assert "timm would leave free: 1.weight" in said
