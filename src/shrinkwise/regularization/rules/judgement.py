"""The role of one parameter in one module: by the table first, then by what else the module says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from shrinkwise.regularization.rules.roles import Role, kind_of, plain_type, role_in

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

_DIRECTION = "direction of {holder}, whose norm {by} fixes: L2 on it changes only the effective learning rate"
_MAGNITUDE = "{role} of {holder}, its magnitude g under weight_norm: g² is the squared norm of its slice of the weight"


@dataclass(frozen=True)
class Site:
    """A parameter where one module holds it.

    Attributes:
        name: Dotted name in the model, without the prefixes of wrappers.
        module: The module that holds it.
        owner: The module whose tensor it makes, where ``module`` is a list of parametrisations; else ``module`` itself.
        shape: Its shape; None where that is not known, or is not its own: before a lazy module's first input, under FSDP1.
    """

    name: str
    module: nn.Module
    owner: nn.Module
    shape: tuple[int, ...] | None

    @property
    def own_name(self) -> str:
        """Its name in its module, or that of the list or dictionary that holds it."""
        *path, own_name = self.name.split(".")
        is_container = isinstance(self.module, nn.ParameterList | nn.ParameterDict)
        return path[-1] if is_container and path else own_name

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
    """A role and its reason."""

    role: Role
    why: str


def judge(site: Site) -> Judgement:
    """Return what a parameter is to the module that holds it.

    The type of the module decides where it is known. Then come LoRA factors, parametrisations, modules whose own type is named as a
    norm (their vectors), names that the field uses for one thing only, and single numbers. What is left is unknown.

    >>> linear = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> judge(Site("parametrizations.weight.original1", linear.parametrizations.weight, linear, (2, 3))).role
    <Role.DIRECTION: 'direction'>
    """
    if isinstance(site.module, ParametrizationList):
        return _parametrised(site, site.module)
    hook = _hook_of(site)
    if hook is not None:
        return _hooked(site, hook)
    role = role_in(site.holder, site.own_name)
    if role in (Role.WEIGHT, Role.UNKNOWN) and _LORA_FACTORS.intersection(site.name.lower().split(".")[-3:]):
        return Judgement(Role.LORA, "LoRA factor: decay pulls the product to zero, that is toward the pretrained weights")
    if role is not Role.UNKNOWN:
        kind = kind_of(site.holder)
        note = f", {kind.note}" if kind and kind.note and role in (Role.WEIGHT, Role.SCALE) else ""
        return Judgement(role, f"{role} of {site.holder.__name__}{note}")
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


def _parametrised(site: Site, steps: ParametrizationList) -> Judgement:
    """Judge an ``original`` of a parametrised tensor.

    L2 on a matrix whose norm is fixed, by spectral_norm or orthogonal, or on the direction under weight_norm, shrinks nothing that
    the network computes; under weight_norm the magnitude carries the norm of the weight and stands for it.
    """
    tensor_name, own_name = site.name.split(".")[-2:]
    holder = site.holder.__name__
    base = role_in(site.holder, tensor_name)
    if base not in (Role.WEIGHT, Role.EMBEDDING, Role.UNKNOWN):
        return Judgement(base, f"{base} of {holder}, parametrised")
    step = next(iter(steps)) if len(steps) == 1 else None
    if isinstance(step, parametrizations._WeightNorm):
        return _weight_normed(base, holder, is_magnitude=own_name == "original0")
    if isinstance(step, parametrizations._SpectralNorm):
        return Judgement(Role.DIRECTION, _DIRECTION.format(holder=holder, by="spectral_norm"))
    if isinstance(step, parametrizations._Orthogonal):
        return Judgement(
            Role.DIRECTION, f"direction of {holder}, which orthogonal keeps at one norm: L2 on it turns it, and shrinks nothing"
        )
    chain = " and ".join(type(step).__name__ for step in steps)
    return Judgement(Role.UNKNOWN, f"{tensor_name} of {holder} is made by {chain}, which Shrinkwise does not know")


def _weight_normed(base: Role, holder: str, *, is_magnitude: bool) -> Judgement:
    if is_magnitude:
        return Judgement(base, _MAGNITUDE.format(role=base, holder=holder))
    return Judgement(Role.DIRECTION, _DIRECTION.format(holder=holder, by="weight_norm"))


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


def _hooked(site: Site, hook: WeightNorm | SpectralNorm | BasePruningMethod) -> Judgement:
    tensor_name = site.own_name.rpartition("_")[0]
    holder = site.holder.__name__
    base = role_in(site.holder, tensor_name)
    if isinstance(hook, WeightNorm):
        return _weight_normed(base, holder, is_magnitude=site.own_name.endswith("_g"))
    if isinstance(hook, SpectralNorm):
        return Judgement(Role.DIRECTION, _DIRECTION.format(holder=holder, by="spectral_norm"))
    return Judgement(base, f"{base} of {holder}, before its pruning mask")
