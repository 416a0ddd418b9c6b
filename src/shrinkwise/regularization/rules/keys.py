"""Which parameters a key names, and which of several entries decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, get_args

import numpy as np
import torch
from torch import nn

from shrinkwise.errors import SettingError, did_you_mean
from shrinkwise.regularization.rules.globs import glob, misread_in
from shrinkwise.regularization.rules.placement import ApplyTo, Placement, chosen
from shrinkwise.regularization.rules.placing import place
from shrinkwise.regularization.rules.roles import Role

Key = str | Role | type[nn.Module] | nn.Module | Callable[[Placement], bool]
"""What names parameters in an entry: see :func:`assign`."""

T = TypeVar("T")
_Rank = tuple[int, int]
_ROLE, _TYPE, _MODULE_GLOB, _MODULE, _PARAMETER_GLOB, _PARAMETER = range(6)
_ROLES = tuple(role.value for role in Role)


def assign(
    placements: Sequence[Placement],
    entries: T | Mapping[Key, T],
    *,
    slot: str,
    apply_to: ApplyTo = "weights",
    frozen: bool = False,
) -> tuple[tuple[Placement, T], ...]:
    """Give each parameter the entry that decides for it.

    A key is one of these, from the least to the most specific:

    * a choice of parameters (``weights``, ``all``, ``timm``, ...) or a role (``embedding``, or ``Role.NORM``);
    * a module type, by its class or the class's name: the weights that such modules themselves hold;
    * a module by glob (``encoder.layer.[0-11]``), by name (``head``) or itself (``model.head``): the weights inside it;
    * a parameter by glob (``*.bias``), whatever its role;
    * a parameter by name (``head.bias``), whatever its role, or a predicate on :class:`Placement`.

    "The weights" are those of ``apply_to``. Globs are those of a shell, and ``*`` crosses dots; but ``[0-11]`` and ``[0,3,8-11]``
    are whole numbers, as listings print repeated layers. A glob is tried on modules first and on parameters only where it names no
    module. Where several keys name one parameter, the more specific decides, a deeper module before the one around it, and among
    equals the later.

    A parametrised tensor answers to its plain name, ``0.weight``: what is named are the parameters that it is made from, under
    weight_norm the magnitude alone. Keys mean the same parameters whether these are frozen or not.

    Args:
        placements: From :func:`place`.
        entries: One entry for the parameters of ``apply_to``, or a mapping of keys, of which there has to be one.
        slot: What the user calls the mapping, for messages.
        apply_to: The choice that module keys and a single entry mean.
        frozen: Whether to return frozen parameters too.

    Returns:
        The parameters that an entry decides for, in the model's order, each once.

    Raises:
        SettingError: A key names nothing, or two things, or is none of the above; a predicate answers neither yes nor no; the
            mapping is empty; or ``apply_to`` is no choice. What a predicate raises goes through.

    >>> from shrinkwise.regularization.rules import place
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    >>> [(p.name, lam) for p, lam in assign(place(model), {"weights": 0.1, "2": 0.2, "*.bias": 0.3}, slot="l2")]
    [('0.weight', 0.1), ('0.bias', 0.3), ('1.bias', 0.3), ('2.weight', 0.2), ('2.bias', 0.3)]
    """
    chosen((), apply_to)  # refuses an unknown choice, whether a key asks for it or not
    if not isinstance(entries, Mapping):
        return tuple((placement, entries) for placement in chosen(placements, apply_to, frozen=frozen))
    if not entries:
        mend = "give 0 for no penalty, or a key such as 'weights'"
        raise SettingError(f"{slot} is {{}}", "it has no key, so nothing would be penalised", mend)
    best: dict[int, tuple[_Rank, T]] = {}
    for key, entry in entries.items():
        named = _named_by(key, placements, slot, apply_to)
        if not named and key not in get_args(ApplyTo):
            raise SettingError(f"{slot} has the key {_spelled(key)}", "it names no parameter of this model", "leave it out")
        for placement, rank in named:
            decided = best.get(id(placement.parameter))
            if decided is None or rank >= decided[0]:
                best[id(placement.parameter)] = (rank, entry)
    asked = (placement for placement in placements if frozen or not placement.is_frozen)
    return tuple((p, best[id(p.parameter)][1]) for p in asked if id(p.parameter) in best)


def _named_by(key: Key, placements: Sequence[Placement], slot: str, apply_to: ApplyTo) -> Sequence[tuple[Placement, _Rank]]:
    """Return the parameters that a key names, each with how specific the key is about it."""
    if isinstance(key, Role):
        return [(p, (_ROLE, 0)) for p in placements if p.role is key]
    if isinstance(key, type) and issubclass(key, nn.Module):
        held = [p for p in placements if any(issubclass(kind, key) for kind in p.types)]
        return _weights_of(key, held, placements, slot, apply_to, (_TYPE, 0)) if held else []
    if isinstance(key, str):
        return _named_by_word(key, placements, slot, apply_to)
    if isinstance(key, nn.Module):
        return _inside_of(key, placements, slot, apply_to)
    if callable(key) and not isinstance(key, type):
        return [(p, (_PARAMETER, 0)) for p in placements if _answer(key, p, slot)]
    cause = "a key is a name, a glob, a role, a module or its type, or a function of a placement"
    raise SettingError(f"{slot} has the key {key!r}", cause, "give one of these")


def _named_by_word(key: str, placements: Sequence[Placement], slot: str, apply_to: ApplyTo) -> Sequence[tuple[Placement, _Rank]]:
    inside, named = _inside(placements, key.__eq__), _called(placements, key.__eq__)
    if key in get_args(ApplyTo):
        meant = chosen(placements, key, frozen=True)  # type: ignore[arg-type]
        _check_one_meaning(key, meant, inside or named, slot, f"use apply_to={key!r} and one strength for the choice")
        return [(p, (_ROLE, 0)) for p in meant]
    if key in _ROLES:
        meant = tuple(p for p in placements if p.role == key)
        if meant or not (inside or named):
            _check_one_meaning(key, meant, inside or named, slot, f"write Role.{key.upper()} for the role")
            return [(p, (_ROLE, 0)) for p in meant]
    if named:
        return [(p, (_PARAMETER, 0)) for p in named]
    if inside:
        return _weights_of(key, inside, placements, slot, apply_to, (_MODULE, key.count(".")))
    held = [p for p in placements if any(_is_called(kind, key) for kind in p.types)]
    if held:
        return _weights_of(key, held, placements, slot, apply_to, (_TYPE, 0))
    if misread := misread_in(key):
        cause = f"{misread} is a set of single characters, as in a shell"
        raise SettingError(f"{slot} has the key {key!r}", cause, "list the numbers that are meant, such as [0-11] or [0,3,8-11]")
    matches = glob(key, (name for p in placements for name in p.names))
    inside = _inside(placements, matches)
    if inside:
        return _weights_of(key, inside, placements, slot, apply_to, (_MODULE_GLOB, 0))
    named = _called(placements, matches)
    if named:
        return [(p, (_PARAMETER_GLOB, 0)) for p in named]
    known = dict.fromkeys(word for p in placements for name in p.tensors for word in (*_modules(name), name))
    mend = did_you_mean(key, [*known, *get_args(ApplyTo), *_ROLES, *(p.module_type for p in placements)], at_most=8)
    raise SettingError(f"{slot} has the key {key!r}", "it names no module, parameter, role or module type of this model", mend)


def _inside(placements: Sequence[Placement], matches: Callable[[str], object]) -> list[Placement]:
    """Return what is inside a module whose name matches."""
    return [p for p in placements if any(matches(module) for tensor in p.tensors for module in _modules(tensor))]


def _called(placements: Sequence[Placement], matches: Callable[[str], object]) -> list[Placement]:
    """Return what has a name that matches, or makes a tensor that has one: all parts of it but a direction beside its magnitude."""
    carried = {tensor for p in placements if p.role is not Role.DIRECTION for tensor in p.tensors}
    return [
        p
        for p in placements
        if any(map(matches, p.names))
        or any(matches(tensor) for tensor in p.tensors if p.role is not Role.DIRECTION or tensor not in carried)
    ]


def _inside_of(
    module: nn.Module, placements: Sequence[Placement], slot: str, apply_to: ApplyTo
) -> Sequence[tuple[Placement, _Rank]]:
    """Return the weights inside a module of the model, as specific as its name there would be."""
    held = {id(p.parameter): p.name for p in place(module)}
    inside = [p for p in placements if id(p.parameter) in held]
    if not inside:
        mend = "give a module of the model that is penalised, such as model.head, or a name"
        raise SettingError(f"{slot} has the key {_spelled(module)}", "it holds no parameter of this model", mend)
    # The names of a tied parameter end differently: the one that ends as it does in the module says where that is.
    paths = [name.removesuffix(held[id(p.parameter)]) for p in inside for name in p.names if _ends_in(name, held[id(p.parameter)])]
    depth = max((path.count(".") - 1 for path in paths), default=0)
    return _weights_of(module, inside, placements, slot, apply_to, (_MODULE, depth))


def _ends_in(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _answer(key: Callable[[Placement], object], placement: Placement, slot: str) -> bool:
    answer = key(placement)
    is_tensor = isinstance(answer, torch.Tensor) and answer.dtype is torch.bool and answer.numel() == 1
    if not (is_tensor or isinstance(answer, bool | np.bool_)):
        cause = f"about {placement.name} it answered {answer!r}"
        raise SettingError(f"{slot} has the key {key!r}", cause, "let it return True or False")
    return bool(answer)


def _check_one_meaning(key: str, meant: Sequence[Placement], named: Sequence[Placement], slot: str, mend: str) -> None:
    """Refuse a word for many parameters that is also the name of a module or a parameter, unless both mean the same ones."""
    if named and {id(p) for p in named} != {id(p) for p in meant}:
        first = named[0].name
        thing = "parameter" if key in (*named[0].names, *named[0].tensors) else "module"
        cause = f"it is a word for parameters of one kind, and also the name of a {thing} of this model"
        raise SettingError(f"{slot} has the key {key!r}", cause, f"{mend}, or name the others one by one, such as {first!r}")


def _spelled(key: Key) -> str:
    """Return a key as the user wrote it."""
    if isinstance(key, Role):
        return f"Role.{key.name}"
    if isinstance(key, nn.Module):
        return f"the module {type(key).__name__}"
    return key.__name__ if isinstance(key, type) else repr(key)


def _weights_of(
    key: Key, named: Sequence[Placement], placements: Sequence[Placement], slot: str, apply_to: ApplyTo, rank: _Rank
) -> Sequence[tuple[Placement, _Rank]]:
    """Return those of the named parameters that ``apply_to`` chooses; there has to be one, frozen or not."""
    wanted = {id(p.parameter) for p in chosen(placements, apply_to, frozen=True)}
    weights = [(p, rank) for p in named if id(p.parameter) in wanted]
    if not weights:
        first = named[0]
        cause = f"what it names holds no parameter that apply_to={apply_to!r} chooses ({first.name} is there as {first.role})"
        mend = f"name the parameter, such as {first.name!r}, or its role, {first.role.value!r}"
        raise SettingError(f"{slot} has the key {_spelled(key)}", cause, mend)
    return weights


def _modules(name: str) -> Iterator[str]:
    """Yield the names of the modules around a parameter, from the outside in."""
    parts = name.split(".")[:-1]
    for depth in range(1, len(parts) + 1):
        yield ".".join(parts[:depth])


def _is_called(kind: type[nn.Module], name: str) -> bool:
    return any(parent.__name__ == name for parent in kind.__mro__ if issubclass(parent, nn.Module) and parent is not nn.Module)
