"""What a parameter is to its module: the table of module types that are known."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


_STRONGEST_FIRST = (
    Role.EMBEDDING,
    Role.TOKEN,
    Role.NORM,
    Role.SCALE,
    Role.DIRECTION,
    Role.BIAS,
    Role.UNKNOWN,
    Role.LORA,
    Role.WEIGHT,
)


def strongest(roles: Iterable[Role]) -> Role:
    """Return the role that decides where a parameter has several uses: it is a weight only if each of them is that of a weight."""
    return min(roles, key=_STRONGEST_FIRST.index)


@dataclass(frozen=True)
class Kind:
    """Module types whose parameters mean the same.

    Attributes:
        types: The types, or patterns of the qualified names of types in packages that need not be installed; a subclass counts
            as its parent.
        roles: Pattern of a parameter's own name -> its role. A subclass's further parameters match none, and are judged on.
        note: What is worth knowing about its weights; empty where nothing is.
        units: Pattern of a parameter's own name -> the dimensions of it that count units (outputs, filters), where it is not the
            first alone.
    """

    types: tuple[type[nn.Module] | str, ...]
    roles: dict[str, Role]
    note: str = ""
    units: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __contains__(self, module_type: type[nn.Module]) -> bool:
        return any(
            fnmatchcase(qualified_name(parent), known) if isinstance(known, str) else parent is known
            for parent in module_type.__mro__
            for known in self.types
        )


def qualified_name(module_type: type) -> str:
    """Return where a type comes from, ``package.module.Type``."""
    return f"{module_type.__module__}.{module_type.__qualname__}"


_LINEAR = {"weight": Role.WEIGHT, "bias": Role.BIAS}
_EXPERTS = {"weight": Role.WEIGHT, "*_proj": Role.WEIGHT, "*bias": Role.BIAS}

KINDS = (
    Kind(
        (
            nn.Linear,
            nn.Bilinear,
            nn.Conv1d,
            nn.Conv2d,
            nn.Conv3d,
        ),
        _LINEAR,
    ),
    # In groups, the filters of one place in each group share an index.
    Kind((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _LINEAR, units={"weight": (1,)}),
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
    Kind(("transformers.pytorch_utils.Conv1D",), _LINEAR, units={"weight": (1,)}),
    Kind(("transformers.models.*Router",), _LINEAR),
    # Experts stand in one tensor, most as (expert, out, in), these as (expert, in, out).
    Kind(
        (
            "transformers.models.*.AriaExperts",
            "transformers.models.*.GptOssExperts",
            "transformers.models.*.Llama4TextExperts",
            "transformers.models.*.OpenAIPrivacyFilterExperts",
        ),
        _EXPERTS,
        units={"*_proj": (0, 2), "*bias": (0, 1)},
    ),
    Kind(("transformers.models.*Experts",), _EXPERTS, units={"*": (0, 1)}),
    Kind(("peft.tuners.lora.dora.DoraLinearLayer",), {"weight": Role.SCALE}, note="the magnitudes of DoRA"),
)
"""Every module type of torch that holds parameters of its own, and those of others that no rule below would know."""


def plain_type(module: nn.Module) -> type[nn.Module]:
    """Return the type that a module's author wrote.

    torch makes types of its own on the way: for a parametrised module, under FSDP2, and until a lazy module has seen its input.

    >>> plain_type(nn.LazyBatchNorm1d()), plain_type(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    (<class 'torch.nn.modules.batchnorm.BatchNorm1d'>, <class 'torch.nn.modules.linear.Linear'>)
    """
    found: type[nn.Module] = getattr(type(module), "cls_to_become", None) or type(module)
    while found.__module__.startswith("torch."):
        parent = found.__bases__[-1]
        if parent is nn.Module or not issubclass(parent, nn.Module) or not found.__name__.endswith(parent.__name__):
            break
        found = parent
    return found


def kind_of(module_type: type[nn.Module]) -> Kind | None:
    """Return the row of the table that a type belongs to."""
    return next((kind for kind in KINDS if module_type in kind), None)


def role_in(module_type: type[nn.Module], own_name: str) -> Role:
    """Return the role, by the table alone, of the parameter that a module of this type itself holds under ``own_name``.

    >>> role_in(nn.Linear, "weight"), role_in(nn.LayerNorm, "weight")
    (<Role.WEIGHT: 'weight'>, <Role.NORM: 'norm'>)
    """
    kind = kind_of(module_type)
    roles = kind.roles.items() if kind else ()
    return next((role for pattern, role in roles if fnmatchcase(own_name, pattern)), Role.UNKNOWN)


def units_in(module_type: type[nn.Module], own_name: str) -> tuple[int, ...]:
    """Return the dimensions that count units of the tensor that a module of this type itself holds under ``own_name``.

    >>> units_in(nn.Conv2d, "weight"), units_in(nn.ConvTranspose2d, "weight")
    ((0,), (1,))
    """
    kind = kind_of(module_type)
    units = kind.units.items() if kind else ()
    return next((dims for pattern, dims in units if fnmatchcase(own_name, pattern)), (0,))
