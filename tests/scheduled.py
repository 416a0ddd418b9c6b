"""Ways to let a strength follow a schedule, and what its factors are, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from problem import zero_step
from shrinkwise.regularization.apply import Regularizer, decay_decoupled, schedule_decay
from shrinkwise.regularization.strength.schedules import Constant, Cosine, EarlyOnly, Linear, WarmUp

LR, LAM, STEPS = 0.1, 0.3, 12
FORMS = ("coupled", "decoupled", "proximal")
NUMBERS = np.arange(STEPS)

FACTORS = {  # written out, independently of the schedules
    "constant": (Constant(0.5), np.full(STEPS, 0.5)),
    "linear": (Linear(8, end=0.25), np.maximum(1 - 0.75 * NUMBERS / 8, 0.25)),
    "cosine": (Cosine(8), np.where(NUMBERS < 8, (1 + np.cos(np.pi * NUMBERS / 8)) / 2, 0)),
    "warm_up": (WarmUp(5), np.minimum(NUMBERS / 5, 1)),
    "early_only": (EarlyOnly(4), (NUMBERS < 4).astype(float)),
    "product": (WarmUp(4) * Linear(10), np.minimum(NUMBERS / 4, 1) * np.maximum(1 - NUMBERS / 10, 0)),
}

every_schedule = pytest.mark.parametrize("name", FACTORS)


def decays(lr, factors):
    """Return the share of a weight that is left after each step."""
    return np.cumprod(1 - lr * LAM * factors)


def follow_attach(form):
    def setup(weight, optimizer, schedule):
        holder = nn.Linear(1, 1, bias=False)
        holder.weight = weight
        Regularizer(l2=LAM, schedule=schedule).bind(holder).attach(optimizer, form=form)

    return setup


def own_decay(weight, optimizer, schedule):
    optimizer.param_groups[0]["weight_decay"] = LAM
    schedule_decay(optimizer, schedule)


def decoupled_first(weight, optimizer, schedule):
    optimizer.param_groups[0]["weight_decay"] = LAM
    decay_decoupled(optimizer)
    schedule_decay(optimizer, schedule)


def decoupled_last(weight, optimizer, schedule):
    optimizer.param_groups[0]["weight_decay"] = LAM
    schedule_decay(optimizer, schedule)
    decay_decoupled(optimizer)


WAYS = {
    "coupled": (SGD, follow_attach("coupled")),
    "decoupled": (AdamW, follow_attach("decoupled")),
    "proximal": (SGD, follow_attach("proximal")),
    "own_of_sgd": (SGD, own_decay),
    "own_of_adamw": (AdamW, own_decay),
    "decoupled_first": (Adam, decoupled_first),
    "decoupled_last": (Adam, decoupled_last),
}

every_way = pytest.mark.parametrize("way", WAYS)


def one_weight(way, lr=LR):
    """Return a weight of 1 and its optimiser, without a decay as yet."""
    weight = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    kind, _ = WAYS[way]
    return weight, kind([weight], lr=lr, weight_decay=0.0)


def left_after_each_step(weight, optimizer, scheduler=None, n_steps=STEPS):
    found = []
    for _ in range(n_steps):
        zero_step(optimizer)
        if scheduler is not None:
            scheduler.step()
        found.append(weight.item())
    return np.array(found)
