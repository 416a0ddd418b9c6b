"""The penalties and the weights on which they are tested."""

from __future__ import annotations

import pytest
import torch

from shrinkwise.regularization.penalties import L1, L2, L2SP, ElasticNet, GroupLasso, MaxNorm, Penalty, Sparsifying
from shrinkwise.seeding import torch_generator

MAKERS = {
    "l2": L2,
    "l1": L1,
    "elastic_net": ElasticNet,
    "elastic_net_mostly_l1": lambda lam: ElasticNet(lam, 0.9),
    "group_lasso_rows": GroupLasso,
    "group_lasso_columns": lambda lam: GroupLasso(lam, "columns"),
    "group_lasso_channels": lambda lam: GroupLasso(lam, "channels"),
    "l2_sp": L2SP,
}
"""Penalties with a strength; :func:`bound` gives L2SP its reference."""

SPARSE = {name: make for name, make in MAKERS.items() if isinstance(make(1.0), Sparsifying)}
CONSTRAINTS = {"max_norm": MaxNorm(1.2), "max_norm_dim_1": MaxNorm(0.8, dim=-1)}
ALL = {name: make(0.3) for name, make in MAKERS.items()} | CONSTRAINTS
SHAPES = {"matrix": (3, 4), "filter": (2, 3, 2, 2), "vector": (5,), "scalar": ()}
HALF = [torch.bfloat16, torch.float16]

each_penalty = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_or_constraint = pytest.mark.parametrize("penalty", ALL.values(), ids=ALL)
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def weight_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, name: str = "penalties") -> torch.Tensor:
    """Return normal numbers, drawn from the name and the shape."""
    return torch.randn(shape, dtype=torch.float64, generator=torch_generator(name, *shape)).to(dtype)


def bound(penalty: Penalty, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Penalty:
    """Return the penalty on a weight of that shape, L2SP with a reference that is not the weight."""
    return penalty.at("weight", weight_of(shape, dtype, "reference"))
