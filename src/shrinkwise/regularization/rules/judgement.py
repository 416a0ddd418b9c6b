"""The role of one parameter in one module: by the table first, then by what else the module says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from shrinkwise.regularization.rules.roles import Role, kind_of, plain_type, role_in, units_in

_LORA_FACTORS = frozenset({"lora_a", "lora_b", "lora_embedding_a", "lora_embedding_b"})

# LlamaRMSNorm, T5LayerNorm, GroupNorm32, RMSNormGated, norm; but not Normal or Normalizer.
_NORM_IN_NAME = re.compile(r"Norm(?![a-z])|norm$")

# Any shape: a bias for each expert is a matrix too, and rates of a state space have rows and columns.
_BY_NAME: Mapping[str, Role] = {
    "bias": Role.BIAS,
    "*_bias": Role.BIAS,
    "*bias_[uv]": Role.BIAS,
    "*_token": Role.TOKEN,
    "*_tokens": Role.TOKEN,
    "*pos_embed*": Role.TOKEN,
    "*position_embed*": Role.TOKEN,
    "*positional_e[mn]*": Role.TOKEN,
    "rel_pos_[hw]": Role.TOKEN,
    "relative_position_bias_table": Role.TOKEN,
    "class_embedding": Role.TOKEN,
    "level_embed": Role.TOKEN,
    "masked_spec_embed": Role.TOKEN,
    "A_log": Role.SCALE,
}
_VECTORS_BY_NAME: Mapping[str, Role] = {
    "sinks": Role.BIAS,
    "*scale": Role.SCALE,
    "*scaling": Role.SCALE,
    "*scale_parameter": Role.SCALE,
    "layer_scale*": Role.SCALE,
    "lambda*": Role.SCALE,
    "gamma*": Role.SCALE,
    "*_gamma": Role.SCALE,
    "alpha": Role.SCALE,
    "time_*": Role.SCALE,
}
"""Own names that the field uses for one thing only, for parameters that a module of no known type holds directly.

None of them makes a weight: what is penalised is never decided by a name.
"""

_PRUNING = "pruning"
_MAKERS: Mapping[type, str] = {
    parametrizations._WeightNorm: "weight_norm",
    parametrizations._SpectralNorm: "spectral_norm",
    parametrizations._Orthogonal: "orthogonal",
    WeightNorm: "weight_norm",
    SpectralNorm: "spectral_norm",
    BasePruningMethod: _PRUNING,
}


@dataclass(frozen=True)
class Site:
    """A parameter where one module holds it.

    Attributes:
        name: Dotted name in the model, without the prefixes of wrappers.
        module: The module that holds it.
        owner: The module whose tensor it makes, where ``module`` is a list of parametrisations; else ``module`` itself.
        shape: Its shape; None where that is not known, or is not its own: before a lazy module's first input, under FSDP1.
        parametrises: Dotted name of the tensor that ``module`` makes, where it is a list of parametrisations or inside one.
    """

    name: str
    module: nn.Module
    owner: nn.Module
    shape: tuple[int, ...] | None
    parametrises: str | None = None

    @property
    def own_name(self) -> str:
        """Its name in its module, or that of the list or dictionary that holds it."""
        *path, own_name = self.name.split(".")
        is_container = isinstance(self.module, nn.ParameterList | nn.ParameterDict)
        return path[-1] if is_container and path else own_name

    @property
    def is_original(self) -> bool:
        """Whether its owner's tensor is made from it by parametrisations."""
        return isinstance(self.module, ParametrizationList) and self.module is not self.owner

    @property
    def tensor_name(self) -> str:
        """Own name of the tensor that its owner works with: its own, unless that tensor is made from it."""
        if self.is_original:
            return self.name.split(".")[-2]
        return self.own_name if _hook_of(self) is None else self.own_name.rpartition("_")[0]

    @property
    def tensor(self) -> str:
        """Dotted name of the tensor that a module outside all parametrisations works with."""
        if self.parametrises is not None:
            return self.parametrises
        return self.name if _hook_of(self) is None else self.name.rpartition("_")[0]

    @property
    def unit_dims(self) -> tuple[int, ...]:
        """Its dimensions that count units: those of its tensor, as far as it has them."""
        dims = units_in(self.holder, self.tensor_name)
        return dims if self.shape is None else tuple(dim for dim in dims if dim < len(self.shape))

    @property
    def holder(self) -> type[nn.Module]:
        """The type of its owner, as its author wrote it."""
        return plain_type(self.owner)

    @property
    def is_vector(self) -> bool:
        """Whether at most one of its dimensions is larger than 1."""
        return self.shape is not None and sum(n > 1 for n in self.shape) <= 1


@dataclass(frozen=True)
class Judgement:
    """A role and its reason, and what makes the module's tensor from the parameter, where it is not that tensor itself."""

    role: Role
    why: str
    parametrised_by: str | None = None


def judge(site: Site) -> Judgement:
    """Return what a parameter is to the module that holds it.

    The type of the module decides where it is known. Then come LoRA factors, parametrisations, modules whose own type is named as a
    norm (their vectors), names that the field uses for one thing only, and single numbers. What is left is unknown.

    >>> linear = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> judge(Site("parametrizations.weight.original1", linear.parametrizations.weight, linear, (2, 3))).role
    <Role.DIRECTION: 'direction'>
    """
    makers = _makers_of(site)
    if makers:
        return _parametrised(site, makers)
    role = role_in(site.holder, site.own_name)
    if role in (Role.WEIGHT, Role.UNKNOWN) and _LORA_FACTORS.intersection(site.name.lower().split(".")[-3:]):
        return Judgement(Role.LORA, "LoRA factor: decay pulls the product to zero, that is toward the pretrained weights")
    if role is not Role.UNKNOWN:
        return Judgement(role, f"{role} of {site.holder.__name__}{_note(site, role)}")
    return _by_name(site)


def _by_name(site: Site) -> Judgement:
    holder = site.holder.__name__
    if _NORM_IN_NAME.search(holder) and site.is_vector:
        return Judgement(Role.NORM, f"norm by the name of its type {holder}")
    named = (*_BY_NAME.items(), *(_VECTORS_BY_NAME.items() if site.is_vector else ()))
    role = next((role for pattern, role in named if fnmatchcase(site.own_name, pattern)), None)
    if role is not None:
        return Judgement(role, f"{role} by its name {site.own_name} in {holder}")
    if site.own_name == "D" and hasattr(site.owner, "A_log"):
        return Judgement(Role.SCALE, f"scale by its name D, beside A_log in {holder}")
    if site.is_vector and "LayerScale" in holder:
        return Judgement(Role.SCALE, f"scale by the name of its type {holder}")
    if site.shape is not None and all(n == 1 for n in site.shape):
        return Judgement(Role.SCALE, f"scale as a single number of {holder}")
    return Judgement(Role.UNKNOWN, f"{holder} with a parameter {site.own_name!r} is no module that Shrinkwise knows")


def _note(site: Site, role: Role) -> str:
    kind = kind_of(site.holder)
    note = f", {kind.note}" if kind and kind.note and role in (Role.WEIGHT, Role.SCALE) else ""
    if role is Role.WEIGHT and site.unit_dims != (0,):
        note += f", its units in dimension{'s' * (len(site.unit_dims) > 1)} {' and '.join(map(str, site.unit_dims))}"
    return note


def _parametrised(site: Site, makers: Sequence[str]) -> Judgement:
    """Judge a parameter that a module's tensor is made from.

    L2 on a matrix whose norm is fixed, by spectral_norm or orthogonal, or on the direction under weight_norm, shrinks nothing that
    the network computes; under weight_norm the magnitude carries the norm of the weight and stands for it.
    """
    holder = site.holder.__name__
    base = role_in(site.holder, site.tensor_name)
    by = " and ".join(makers)
    if by == _PRUNING:
        return Judgement(base, f"{base} of {holder}, before its pruning mask")
    if base not in (Role.WEIGHT, Role.EMBEDDING, Role.UNKNOWN):
        return Judgement(base, f"{base} of {holder}, parametrised", by)
    if by == "weight_norm" and site.own_name.endswith(("original0", "_g")):
        why = f"{base} of {holder}, its magnitude g under weight_norm: g² is the squared norm of its slice of the weight"
        return Judgement(base, why, by)
    if by in ("weight_norm", "spectral_norm"):
        why = f"direction of {holder}, whose norm {by} fixes: L2 on it changes only the effective learning rate"
        return Judgement(Role.DIRECTION, why, by)
    if by == "orthogonal":
        why = f"direction of {holder}, which orthogonal keeps at one norm: L2 on it turns it, and shrinks nothing"
        return Judgement(Role.DIRECTION, why, by)
    return Judgement(Role.UNKNOWN, f"{site.tensor_name} of {holder} is made by {by}, which Shrinkwise does not know", by)


def _makers_of(site: Site) -> tuple[str, ...]:
    """Return what makes a module's tensor from this parameter, step by step."""
    if site.is_original:
        return tuple(map(_maker_name, site.module.children()))
    hook = _hook_of(site)
    return () if hook is None else (_maker_name(hook),)


def _maker_name(maker: object) -> str:
    known = next((name for kind, name in _MAKERS.items() if isinstance(maker, kind)), None)
    return known or (plain_type(maker) if isinstance(maker, nn.Module) else type(maker)).__name__


def _hook_of(site: Site) -> WeightNorm | SpectralNorm | BasePruningMethod | None:
    """Return the forward pre-hook of torch's older kind that makes a module's tensor from this parameter."""
    for hook in site.module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and site.own_name in (f"{hook.name}_g", f"{hook.name}_v"):
            return hook
        if isinstance(hook, SpectralNorm) and site.own_name == f"{hook.name}_orig":
            return hook
        if isinstance(hook, BasePruningMethod) and site.own_name == f"{hook._tensor_name}_orig":
            return hook
    return None
