"""Decay by rows: where it is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop

from cases import TiedLanguageModel
from shrinkwise.errors import ModelError, SettingError
from shrinkwise.regularization.apply import decay_rows
from tables import LAM, Words, every_mode, optimizer_of, step

REFUSED = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "momentum": lambda p, lr: SGD(p, lr=lr, momentum=0.9)}


@pytest.mark.parametrize("name", REFUSED)
def test_catch_up_is_refused_where_a_row_without_a_gradient_moves(name):
    model = Words()
    optimizer = REFUSED[name](model.parameters(), lr=0.1)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    with pytest.raises(SettingError, match=r"mode is 'catch_up' under (Adam|AdamW|RMSprop|SGD with momentum).*mode='touched'"):
        decay_rows(model, optimizer, LAM, mode="catch_up")
    assert not optimizer._optimizer_step_pre_hooks
    decay_rows(model, optimizer, LAM, mode="touched")


def test_momentum_of_other_groups_is_no_hindrance():
    model = Words()
    optimizer = SGD([{"params": model.words.parameters()}, {"params": model.head.parameters(), "momentum": 0.9}], lr=0.1)
    decay_rows(model, optimizer, LAM, mode="catch_up")


@every_mode
def test_mistakes_are_said(mode):
    model = Words()
    optimizer = SGD(model.parameters(), lr=0.1)
    tied = TiedLanguageModel(is_head_first=False)
    normed = nn.utils.parametrizations.weight_norm(nn.Embedding(3, 2))
    linear = nn.Linear(2, 2)
    for act, message in (
        (lambda: decay_rows(model, optimizer, LAM, mode="catchup"), "Did you mean 'catch_up'"),
        (lambda: decay_rows(model, optimizer, -1, mode=mode), "a strength is a finite number"),
        (lambda: decay_rows(model, optimizer, {"words": 0.1, "head": 0.1}, mode=mode), "of rows has the key 'head'.*words.weight"),
        (lambda: decay_rows(model, optimizer, {"wrods.weight": 0.1}, mode=mode), "Did you mean 'words.weight'"),
        (lambda: decay_rows(tied, SGD(tied.parameters(), lr=0.1), LAM, mode=mode), "is tied to head.weight"),
        (lambda: decay_rows(linear, SGD(linear.parameters(), lr=0.1), LAM, mode=mode), "has no embedding"),
        (lambda: decay_rows(normed, SGD(normed.parameters(), lr=0.1), LAM, mode=mode), "is no embedding"),
        (lambda: decay_rows(model, SGD(model.head.parameters(), lr=0.1), LAM, mode=mode), r"lacks 1 parameter \(words.weight\)"),
    ):
        with pytest.raises(SettingError, match=message):
            act()
    with pytest.raises(ModelError, match="got Linear"):
        decay_rows(model, linear, LAM, mode=mode)
    assert not optimizer._optimizer_step_pre_hooks


@every_mode
def test_a_frozen_table_is_left_alone(mode):
    model = Words()
    model.words.requires_grad_(False)
    optimizer = SGD(model.head.parameters(), lr=0.1)
    assert decay_rows(model, optimizer, LAM, mode=mode).terms == ()


def test_a_step_that_would_leave_nothing_to_catch_up_is_refused_before_it_is_taken():
    for lr in (2.5, 4.0):
        model = Words()
        optimizer = optimizer_of("sgd", model)
        decay_rows(model, optimizer, LAM, mode="catch_up")
        start = copy.deepcopy(model.words.weight)
        with pytest.raises(SettingError, match=r"lr·weight_decay is (1|1\.6): .*product is below 1"):
            step(model, optimizer, [[0]], lr)
        assert torch.equal(model.words.weight, start)
