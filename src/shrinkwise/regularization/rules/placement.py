"""Every parameter of a model, placed once, with its role and the reason."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from shrinkwise.errors import ModelError, SettingError, UnplacedParameterWarning, did_you_mean
from shrinkwise.regularization.rules.roles import Role, role_in

ApplyTo = Literal["weights", "all"]
"""Which parameters a penalty acts on: weight matrices and filters, or everything that is trained."""

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


@dataclass(frozen=True, eq=False)
class Placement:
    """One parameter and what it is.

    Attributes:
        name: Dotted name in the model, without the prefixes of wrappers; of a tied parameter, the first one.
        parameter: The parameter itself.
        role: What it does.
        module_type: Class name of the module that holds it under ``name``.
        aliases: Its other names, where several modules hold it.
        why: Why it has this role.
        types: The type of the module that holds it, for each of its names.
    """

    name: str
    parameter: nn.Parameter
    role: Role
    module_type: str
    aliases: tuple[str, ...]
    why: str
    types: tuple[type[nn.Module], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the first one first."""
        return (self.name, *self.aliases)

    @property
    def is_frozen(self) -> bool:
        """Whether it is not trained: nothing acts on it then."""
        return not self.parameter.requires_grad


@dataclass(frozen=True)
class _Use:
    name: str
    role: Role
    holder: type[nn.Module]


def place(model: nn.Module) -> tuple[Placement, ...]:
    """Place every parameter of a model exactly once, in the order in which modules register them.

    The type of the module that holds a parameter decides its role, never the name alone. A tied parameter is penalised only if
    each of its uses is that of a weight: an output head tied to an embedding counts as embedding.

    Args:
        model: Any module, wrapped by DataParallel, DistributedDataParallel or torch.compile or not.

    Returns:
        One placement a parameter, frozen ones included.

    Raises:
        ModelError: ``model`` is not a module.

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
    for prefix, module in _walk(model):
        for own_name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            parameters[id(parameter)] = parameter
            use = _Use(prefix + own_name, role_in(module, own_name), type(module))
            uses.setdefault(id(parameter), []).append(use)
    return tuple(_placement(parameters[key], held) for key, held in uses.items())


def penalised(placements: Sequence[Placement], apply_to: ApplyTo = "weights") -> tuple[Placement, ...]:
    """Return the placements that a penalty acts on.

    Args:
        placements: From :func:`place`.
        apply_to: ``weights`` for trained parameters with the role of a weight, ``all`` for everything that is trained.

    Returns:
        A part of ``placements``, in the same order.

    Raises:
        SettingError: ``apply_to`` is neither.

    Warns:
        UnplacedParameterWarning: Under ``weights``, trained parameters of unknown kind stay free.
    """
    if apply_to not in get_args(ApplyTo):
        mend = did_you_mean(str(apply_to), get_args(ApplyTo))
        raise SettingError(f"apply_to is {apply_to!r}", "there is no such choice of parameters", mend)
    trained = tuple(placement for placement in placements if not placement.is_frozen)
    if apply_to == "all":
        return trained
    unknown = [f"{placement.name} of {placement.module_type}" for placement in trained if placement.role is Role.UNKNOWN]
    if unknown:
        message = (
            f"parameters of unknown kind stay free of the penalty: {', '.join(unknown)}. "
            "If they should be penalised, put them into a group of their own, or use apply_to='all'."
        )
        # Three frames up stands the caller of what a user calls: param_groups, or Regularizer.bind.
        warnings.warn(message, UnplacedParameterWarning, stacklevel=3)
    return tuple(placement for placement in trained if placement.role is Role.WEIGHT)


def _walk(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield every module with the prefix of its parameters' names, once for each way to it; wrappers add nothing to a name."""
    yield prefix, module
    is_parallel = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    # Not named_children, which names a module that is held twice only once.
    for name, child in module._modules.items():
        if child is not None:
            is_wrapped = name == "_orig_mod" or (is_parallel and name == "module")
            yield from _walk(child, prefix if is_wrapped else f"{prefix}{name}.")


def _placement(parameter: nn.Parameter, uses: Sequence[_Use]) -> Placement:
    first = uses[0]
    role = min((use.role for use in uses), key=_STRONGEST_FIRST.index)
    deciding = next(use for use in uses if use.role is role)
    if role is Role.UNKNOWN:
        own_name = deciding.name.rpartition(".")[2]
        why = f"{deciding.holder.__name__} with a parameter {own_name!r} is no module that Shrinkwise knows"
    else:
        why = f"{role} of {deciding.holder.__name__}"
    if len({use.role for use in uses}) > 1:
        why = f"tied, and as {deciding.name} the {why}"
    types = tuple(use.holder for use in uses)
    return Placement(first.name, parameter, role, types[0].__name__, tuple(use.name for use in uses[1:]), why, types)
