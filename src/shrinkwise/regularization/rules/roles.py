"""What a parameter is to its module: the table of module types that are known."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn


class Role(enum.StrEnum):
    """What a parameter does."""

    WEIGHT = "weight"
    LORA = "lora"
    BIAS = "bias"
    NORM = "norm"
    EMBEDDING = "embedding"
    TOKEN = "token"
    SCALE = "scale"
    DIRECTION = "direction"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Kind:
    """Module types whose parameters mean the same.

    Attributes:
        types: The types; a subclass counts as its parent.
        roles: Pattern of a parameter's own name -> its role. A subclass's further parameters match none and stay unknown.
    """

    types: tuple[type[nn.Module], ...]
    roles: dict[str, Role]


KINDS = (
    Kind(
        (
            nn.Linear,
            nn.Bilinear,
            nn.Conv1d,
            nn.Conv2d,
            nn.Conv3d,
            nn.ConvTranspose1d,
            nn.ConvTranspose2d,
            nn.ConvTranspose3d,
        ),
        {"weight": Role.WEIGHT, "bias": Role.BIAS},
    ),
    Kind((nn.RNNBase, nn.RNNCellBase), {"weight_[ih]h*": Role.WEIGHT, "weight_hr*": Role.WEIGHT, "bias_[ih]h*": Role.BIAS}),
    Kind(
        (nn.MultiheadAttention,),
        {"in_proj_weight": Role.WEIGHT, "[qkv]_proj_weight": Role.WEIGHT, "in_proj_bias": Role.BIAS, "bias_[kv]": Role.BIAS},
    ),
    Kind(
        (
            nn.LayerNorm,
            nn.RMSNorm,
            nn.GroupNorm,
            nn.BatchNorm1d,
            nn.BatchNorm2d,
            nn.BatchNorm3d,
            nn.SyncBatchNorm,
            nn.InstanceNorm1d,
            nn.InstanceNorm2d,
            nn.InstanceNorm3d,
        ),
        {"weight": Role.NORM, "bias": Role.NORM},
    ),
    Kind((nn.Embedding, nn.EmbeddingBag), {"weight": Role.EMBEDDING}),
    Kind((nn.PReLU,), {"weight": Role.SCALE}),
)
"""Every module type of torch that holds parameters of its own."""


def role_in(module: nn.Module, own_name: str) -> Role:
    """Return the role of the parameter that ``module`` itself holds under ``own_name``.

    >>> role_in(nn.Linear(2, 2), "weight"), role_in(nn.LayerNorm(2), "weight")
    (<Role.WEIGHT: 'weight'>, <Role.NORM: 'norm'>)
    """
    for kind in KINDS:
        if isinstance(module, kind.types):
            matches = (role for pattern, role in kind.roles.items() if fnmatchcase(own_name, pattern))
            return next(matches, Role.UNKNOWN)
    return Role.UNKNOWN
