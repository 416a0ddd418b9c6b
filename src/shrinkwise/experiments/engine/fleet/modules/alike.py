"""Whether two networks are the same computation on different tensors."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from shrinkwise.regularization.dropout import Dropout

_TORCHS_OWN = frozenset(vars(nn.Module())) - {"training"}
"""What every module has: parameters, buffers, children and hooks, which are compared by themselves."""
_OF_PLACE = frozenset({"p", "seed", "layer", "_step", "_key", "_is_active", "_is_ready"})
"""What may differ in a dropout: its rate, and what its place and step set."""


def same_structure(one: nn.Module, other: nn.Module) -> bool:
    """Whether either of two networks can stand for the other, given its tensors.

    They have the same modules by name and type, the same parameters and buffers by name, shape and dtype, tied and frozen alike,
    and equal attributes beside these, but for the rates of :class:`Dropout` and what its place and step set. In doubt they are not.

    Args:
        one: A network; attributes that are functions are compared by code and closure, tensors by value.
        other: Another.

    >>> same_structure(nn.Linear(3, 2), nn.Linear(3, 2)), same_structure(nn.ELU(1.0), nn.ELU(0.5))
    (True, False)
    """
    ones, others = (dict(model.named_modules(remove_duplicate=False)) for model in (one, other))
    if ones.keys() != others.keys() or _tensors(one) != _tensors(other) or _first_names(ones) != _first_names(others):
        return False
    compared = _Comparison(ones, others)
    return all(compared.modules(module, others[name]) for name, module in ones.items())


def _tensors(model: nn.Module) -> list[tuple[str, str, torch.Size, torch.dtype, bool]]:
    """Return what describes each parameter and buffer, under each of its names."""
    held = (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    )
    first: dict[int, str] = {}
    return [(name, first.setdefault(id(tensor), name), tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in held]


def _first_names(modules: Mapping[str, nn.Module]) -> list[str]:
    first: dict[int, str] = {}
    return [first.setdefault(id(module), name) for name, module in modules.items()]


def _kind(module: nn.Module) -> type[nn.Module]:
    # A parametrised module has a class of its own, made for it.
    return type(module).__bases__[0] if parametrize.is_parametrized(module) else type(module)


class _Comparison:
    """Compares what two networks hold beside their tensors.

    Args:
        ones: Modules of the one, by name.
        others: Modules of the other.
    """

    def __init__(self, ones: Mapping[str, nn.Module], others: Mapping[str, nn.Module]) -> None:
        self._names = [{id(module): name for name, module in modules.items()} for modules in (ones, others)]
        self._open: set[tuple[int, int]] = set()

    def modules(self, one: nn.Module, other: nn.Module) -> bool:
        """Whether two modules of one name have one type and equal attributes."""
        if _kind(one) is not _kind(other):
            return False
        left_out = _TORCHS_OWN | _OF_PLACE if type(one) is Dropout else _TORCHS_OWN
        mine, its = ({name: value for name, value in vars(each).items() if name not in left_out} for each in (one, other))
        nones = [
            [name for name, held in (*each._parameters.items(), *each._buffers.items()) if held is None] for each in (one, other)
        ]
        return nones[0] == nones[1] and self.values(mine, its)

    def values(self, one: Any, other: Any) -> bool:
        """Whether two attributes are equal."""
        if one is other:
            return not isinstance(one, torch.Generator | np.random.Generator | np.random.RandomState)
        if type(one) is not type(other) and not isinstance(one, nn.Module):
            return False
        # What is being compared further out, and holds itself, is equal if all the rest is.
        if (id(one), id(other)) in self._open:
            return True
        self._open.add((id(one), id(other)))
        try:
            return self._equal(one, other)
        except Exception:  # noqa: BLE001  anything may come out of a user's ==; in doubt two things are different
            return False
        finally:
            self._open.discard((id(one), id(other)))

    def _equal(self, one: Any, other: Any) -> bool:
        if isinstance(one, nn.Module):
            return self._modules_held(one, other)
        if isinstance(one, Tensor):
            return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
        if isinstance(one, np.ndarray):
            return one.dtype == other.dtype and np.array_equal(one, other)
        if isinstance(one, Mapping):
            return list(one) == list(other) and all(self.values(one[key], other[key]) for key in one)
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(self.values(a, b) for a, b in zip(one, other, strict=True))
        if isinstance(one, types.FunctionType | types.MethodType | functools.partial):
            return self._functions(one, other)
        if "__eq__" in {name for kind in type(one).__mro__[:-1] for name in vars(kind)}:
            return bool(one == other)
        return hasattr(one, "__dict__") and not _has_slots(one) and self.values(vars(one), vars(other))

    def _modules_held(self, one: nn.Module, other: Any) -> bool:
        names = [held.get(id(each)) for held, each in zip(self._names, (one, other), strict=True)]
        if names[0] is not None or names[1] is not None:
            # Modules of the network are compared under their own names.
            return names[0] == names[1]
        return (
            isinstance(other, nn.Module)
            and self.modules(one, other)
            and all(self.values(getattr(one, kind), getattr(other, kind)) for kind in ("_parameters", "_buffers", "_modules"))
        )

    def _functions(self, one: Any, other: Any) -> bool:
        if isinstance(one, types.MethodType):
            return self.values(one.__func__, other.__func__) and self.values(one.__self__, other.__self__)
        if isinstance(one, functools.partial):
            return all(self.values(getattr(one, part), getattr(other, part)) for part in ("func", "args", "keywords"))
        is_one_code = one.__code__ == other.__code__ and one.__globals__ is other.__globals__
        cells = [[cell.cell_contents for cell in each.__closure__ or ()] for each in (one, other)]
        return is_one_code and all(
            self.values(a, b)
            for a, b in ((one.__defaults__, other.__defaults__), (one.__kwdefaults__, other.__kwdefaults__), tuple(cells))
        )


def _has_slots(thing: Any) -> bool:
    return any(getattr(kind, "__slots__", ()) for kind in type(thing).__mro__)
