"""Regularizers, forms and optimisers that tests of attach() run over."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop

from problem import reference
from shrinkwise.regularization.apply import Regularizer
from shrinkwise.regularization.penalties import L2SP, ElasticNet, GroupLasso

LR, LAM = 0.1, 0.2
FORMS = ("coupled", "decoupled", "proximal")

REGULARIZERS = {
    "l2": lambda model: Regularizer(l2=LAM),
    "l2_on_all": lambda model: Regularizer(l2=LAM, apply_to="all"),
    "l2_by_layer": lambda model: Regularizer(l2={"0": 0.3, "3": 0.05, "*.bias": 0.02}),
    "l1": lambda model: Regularizer(l1=0.02),
    "elastic_net": lambda model: Regularizer(elastic_net=ElasticNet(0.1, ratio=0.3)),
    "group_lasso": lambda model: Regularizer(group_lasso=0.01),
    "group_lasso_by_columns": lambda model: Regularizer(group_lasso=GroupLasso(0.01, "columns")),
    "l2_sp": lambda model: Regularizer(l2_sp=L2SP(LAM, reference(model))),
    "l2_sp_from_the_start": lambda model: Regularizer(l2_sp={"0": LAM}),
    "several": lambda model: Regularizer(l2=LAM, l1={"3": 0.01}, group_lasso={"0": 0.005}, l2_sp=L2SP(0.1, reference(model))),
}

every_kind = pytest.mark.parametrize("kind", REGULARIZERS)
every_form = pytest.mark.parametrize("form", FORMS)

OPTIMIZERS = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (Adam, {}),
    "adam_for_loop": (Adam, {"foreach": False, "amsgrad": True}),
    "adamw": (AdamW, {"weight_decay": 0.0, "foreach": True}),
    "rmsprop": (RMSprop, {"alpha": 0.9}),
}


def make(name, parameters, lr=0.05):
    kind, options = OPTIMIZERS[name]
    return kind(parameters, lr=lr, **options)


def bound_to(problem, kind):
    return REGULARIZERS[kind](problem.model).bind(problem.model)


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
