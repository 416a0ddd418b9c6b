"""Every parameter of a model, placed once, with its role and the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from shrinkwise.errors import ModelError
from shrinkwise.regularization.rules.judgement import Judgement, Site, judge
from shrinkwise.regularization.rules.placement import Placement
from shrinkwise.regularization.rules.roles import Role, plain_type, qualified_name, strongest
from shrinkwise.regularization.rules.uses import uses_in

_PRIVATE_WRAPPING = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
_FSDP1 = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"


@dataclass(frozen=True)
class _Use:
    site: Site
    judgement: Judgement


def place(model: nn.Module, inputs: Any = None) -> tuple[Placement, ...]:
    """Place every parameter of a model exactly once, in the order in which modules register them.

    The type of the module that holds a parameter decides its role; a name does only where the field uses it for one thing. A tied
    parameter is penalised only if each of its uses is that of a weight: an output head tied to an embedding counts as embedding.

    Wrappers change neither names nor roles: DataParallel, DistributedDataParallel, torch.compile, activation checkpointing and
    ``fully_shard``. FSDP1 keeps the parameters only with ``use_orig_params=True``, and even then not their shapes.

    Args:
        model: Any module.
        inputs: What its forward takes: a tensor, a tuple of positional arguments or a mapping of keywords. With it the model is run
            once, without gradients, and how it uses a parameter fills in what its modules leave unknown. Then the parameters,
            buffers and attributes of its modules, such as counters and caches, and the random generators of torch, numpy and Python
            are put back. What a forward writes elsewhere stays written: to a file, a global variable, or more than one plain object
            deep in an attribute. Look before ``fully_shard``, whose forward works on other tensors.

    Returns:
        One placement a parameter, frozen ones included.

    Raises:
        ModelError: ``model`` is not a module, is flattened by FSDP1, does not run on ``inputs``, or has a ``no_weight_decay()``
            that gives no names.

    >>> for placed in place(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))):
    ...     print(placed.name, placed.role, "-", placed.why)
    0.weight weight - weight of Linear
    0.bias bias - bias of Linear
    1.weight norm - norm of LayerNorm
    1.bias norm - norm of LayerNorm
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"got {type(model).__name__}", "parameters are placed by the modules that hold them", "give a torch.nn.Module"
        )
    parameters: dict[int, nn.Parameter] = {}
    uses: dict[int, list[_Use]] = {}
    exempt: dict[str, tuple[str, str]] = {}
    for held in _walk(model):
        for name in _exempted_names(held.module):
            exempt.setdefault(held.prefix + name, (held.prefix.removesuffix("."), plain_type(held.module).__name__))
        for own_name, parameter in held.module.named_parameters(recurse=False, remove_duplicate=False):
            site = _site(held, own_name, parameter)
            parameters[id(parameter)] = parameter
            uses.setdefault(id(parameter), []).append(_Use(site, judge(site)))
    placements = [_placement(parameters[key], held_as) for key, held_as in uses.items()]
    if inputs is not None:
        unknown = [placement for placement in placements if placement.role is Role.UNKNOWN]
        seen = uses_in(_unwrapped(model), inputs, unknown)
        placements = [replace(p, role=seen[id(p)].role, why=seen[id(p)].why) if id(p) in seen else p for p in placements]
    return tuple(_exempted(placement, exempt) for placement in placements)


@dataclass(frozen=True)
class _Held:
    """A module on one way to it.

    Attributes:
        prefix: What its parameters' names begin with.
        module: The module.
        owner: The module whose tensor it makes, where it is a list of parametrisations; else itself.
        makes: Dotted name of the tensor that it makes, where it is a list of parametrisations or inside one.
        is_flat: Whether FSDP1 holds it: then shapes are not those of its parameters.
    """

    prefix: str
    module: nn.Module
    owner: nn.Module
    makes: str | None
    is_flat: bool


def _walk(
    module: nn.Module, prefix: str = "", owner: nn.Module | None = None, makes: str | None = None, *, is_flat: bool = False
) -> Iterator[_Held]:
    """Yield every module, once for each way to it; wrappers add nothing to a name."""
    # By name: what defines the type need not have been imported.
    is_flat = is_flat or any(qualified_name(parent) == _FSDP1 for parent in type(module).__mro__)
    yield _Held(prefix, module, module if owner is None else owner, makes, is_flat)
    is_parallel = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    # Not named_children, which names a module that is held twice only once.
    for name, child in module._modules.items():
        if child is not None:
            is_wrapped = name in _PRIVATE_WRAPPING or (is_parallel and name == "module")
            below = prefix if is_wrapped else f"{prefix}{name}."
            if name == "parametrizations" and isinstance(child, nn.ModuleDict):
                for tensor_name, steps in child.items():
                    made = (module, makes or prefix + tensor_name) if isinstance(steps, ParametrizationList) else (None, makes)
                    yield from _walk(steps, f"{below}{tensor_name}.", *made, is_flat=is_flat)
            else:
                yield from _walk(child, below, makes=makes, is_flat=is_flat)


def _site(held: _Held, own_name: str, parameter: nn.Parameter) -> Site:
    if getattr(parameter, "_is_flat_param", False):
        mend = "place the parameters before wrapping, wrap with use_orig_params=True, or use fully_shard"
        raise ModelError(f"{held.prefix}{own_name} is a FlatParameter", "FSDP flattened weights, biases and norms into one", mend)
    shape = None if held.is_flat or is_lazy(parameter) else tuple(parameter.shape)
    return Site(held.prefix + own_name, held.module, held.owner, shape, held.makes)


def _exempted_names(module: nn.Module) -> Iterable[str]:
    """Return what a module's own ``no_weight_decay()``, a convention of timm, asks to leave free."""
    # A compiled module answers for the one inside it, whose turn comes.
    asked = None if "_orig_mod" in module._modules else getattr(module, "no_weight_decay", None)
    names = asked() if callable(asked) else ()
    if isinstance(names, str) or not isinstance(names, Iterable):
        fact = f"no_weight_decay() of {type(module).__name__} gave {type(names).__name__}"
        raise ModelError(fact, "it lists the names of parameters to leave free", "let it return a set of names")
    return names


def _placement(parameter: nn.Parameter, uses: Sequence[_Use]) -> Placement:
    role = strongest(use.judgement.role for use in uses)
    deciding = next(use for use in uses if use.judgement.role is role)
    why = deciding.judgement.why
    if len({use.judgement.role for use in uses}) > 1:
        why = f"tied, and as {deciding.site.name} the {why}"
    names = tuple(use.site.name for use in uses)
    types = tuple(use.site.holder for use in uses)
    return Placement(
        names[0],
        parameter,
        role,
        types[0].__name__,
        names[1:],
        why,
        types,
        tensors=tuple(use.site.tensor for use in uses),
        unit_dims=deciding.site.unit_dims,
        parametrised_by=deciding.judgement.parametrised_by,
    )


def _exempted(placement: Placement, exempt: Mapping[str, tuple[str, str]]) -> Placement:
    named = next((exempt[name] for name in placement.names if name in exempt), None)
    if named is None:
        return placement
    by, type_name = named
    return replace(placement, exempted_by=by, why=f"{placement.why}; free, since no_weight_decay() of {type_name} names it")


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model itself: a wrapper's forward may need other processes, a compiler or several devices."""
    while True:
        is_parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner = model._modules.get("module" if is_parallel else "_orig_mod")
        if inner is None:
            return model
        model = inner
