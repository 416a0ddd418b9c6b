"""What a user's function depends on: its code, and the code and values that it reaches, as bytes that can be hashed."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from collections import deque
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_SETS = (set, frozenset)
_TOLD = frozenset(["datetime", "decimal", "fractions", "pathlib"])
_HOLDERS = _TOLD | {"builtins", "types", "argparse", "collections"}
"""Modules of Python's own whose objects hold what somebody put there; a logger, a lock or a file says nothing of a training."""


def name_of(function: object) -> str:
    """Return the name under which people know a function: its own, or that of the class of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def code_of(thing: object) -> bytes:
    """Return what code does, whatever its layout and comments: its syntax tree, or its byte code where no text stands alone.

    A factory of our own says by its values all that it does.
    """
    while isinstance(thing, functools.partial):
        thing = thing.func
    if type(thing).__module__.startswith("shrinkwise."):
        return repr(thing).encode()
    code: Any = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(code)))).encode()
    except (OSError, TypeError, SyntaxError):
        return _byte_code(getattr(code, "__code__", None)) or code.__qualname__.encode()


def parts_of(function: object) -> Iterator[bytes]:
    """Yield everything on which a function depends: code and values of its own module, and whatever it holds."""
    yield from _Walk(function).parts(function)


class _Walk:
    """One walk over what a function reaches; each function, class and instance is told once, and a circle ends.

    Args:
        function: Where it starts: the module of a class or a function is its own.
    """

    def __init__(self, function: object) -> None:
        while isinstance(function, functools.partial):
            function = function.func
        code = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
        self.home = getattr(inspect.unwrap(code), "__module__", None)
        # The things themselves, since the number of one that is gone may be given to another.
        self.seen: dict[int, object] = {}
        self.open: set[int] = set()

    def parts(self, thing: object) -> Iterator[bytes]:
        if isinstance(thing, functools.partial):
            yield from self.parts((thing.func, thing.args, thing.keywords))
        elif isinstance(thing, _PLAIN):
            yield repr(thing).encode()
        elif isinstance(thing, Tensor | np.ndarray):
            yield _array(thing)
        elif isinstance(thing, list | tuple | deque | set | frozenset | Mapping):
            yield from self._inside(thing)
        elif id(thing) not in self.seen:
            self.seen[id(thing)] = thing
            yield from self._once(thing)

    def _inside(self, thing: Any) -> Iterator[bytes]:
        yield f"{type(thing).__name__} {len(thing)}".encode()
        if id(thing) in self.open:
            return
        self.open.add(id(thing))
        if isinstance(thing, _SETS):
            yield from sorted(b"\0".join(self.parts(item)) for item in thing)
        else:
            for item in thing.items() if isinstance(thing, Mapping) else thing:
                # A pair of a mapping is made on the way, and is no thing of its own.
                for part in item if isinstance(thing, Mapping) else (item,):
                    yield from self.parts(part)
        self.open.remove(id(thing))

    def _once(self, thing: Any) -> Iterator[bytes]:
        if inspect.ismethod(thing):
            yield from self.parts((thing.__func__, thing.__self__))
        elif inspect.isfunction(thing):
            yield from self._function(thing)
        elif inspect.isclass(thing):
            yield from self._class(thing)
        elif inspect.isbuiltin(thing) or inspect.ismodule(thing):
            yield repr(getattr(thing, "__name__", thing)).encode()
        elif hasattr(thing, "__wrapped__"):
            yield from self.parts(thing.__wrapped__)
        elif hasattr(thing, "__array__"):
            yield _array(np.asarray(thing))
        else:
            yield from self._instance(thing)

    def _function(self, function: Any) -> Iterator[bytes]:
        # Of two lambdas on a line the text is one, and only the byte code tells them apart.
        yield code_of(function) + _byte_code(function.__code__)
        yield from self.parts((function.__defaults__, function.__kwdefaults__))
        yield from self.parts([_content(cell) for cell in function.__closure__ or ()])
        for name in sorted(_names_in(function.__code__)):
            if name in function.__globals__ and _is_own(function.__globals__[name], function.__module__):
                yield name.encode()
                yield from self.parts(function.__globals__[name])

    def _class(self, kind: Any) -> Iterator[bytes]:
        yield code_of(kind)
        if kind.__module__ != self.home:
            return
        for base in kind.__bases__:
            if base.__module__ == self.home:
                yield from self.parts(base)
        for name, value in sorted(vars(kind).items()):
            made = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(made) or (not name.startswith("__") and _is_own(made, self.home)):
                yield name.encode()
                yield from self.parts(made)

    def _instance(self, thing: Any) -> Iterator[bytes]:
        yield from self.parts(type(thing))
        if _root(thing) in _TOLD:
            # What stands in such an object beside what it says of itself is a cache.
            yield repr(thing).encode()
            return
        slots = [name for kind in type(thing).__mro__ for name in _slots(kind) if hasattr(thing, name)]
        held = {name: getattr(thing, name) for name in slots} | getattr(thing, "__dict__", {})
        if held:
            yield from self.parts(held)
        elif " at 0x" not in (told := repr(thing)):
            yield told.encode()


def _is_own(value: object, module: str | None) -> bool:
    """Whether a global of a function's module is part of what the function does: code of that module, or something held."""
    value = inspect.unwrap(value) if callable(value) else value
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__module__ == module
    if inspect.ismodule(value) or inspect.isbuiltin(value):
        return False
    if isinstance(value, functools.partial):
        return True
    root = _root(value)
    return root in _HOLDERS or root not in sys.stdlib_module_names


def _root(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    named = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in named if not name.startswith("__"))


def _array(array: Tensor | np.ndarray) -> bytes:
    kind = f"{array.dtype}{tuple(array.shape)}".encode()
    if isinstance(array, Tensor):
        if array.layout is not torch.strided or array.is_meta:
            return kind + repr(array).encode()
        array = array.detach().cpu()
        # NumPy has no bfloat16 and its kin, of which a float32 holds every value.
        array = (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
    return kind + (repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())


def _byte_code(code: CodeType | None) -> bytes:
    if code is None:
        return b""
    nested = b"".join(_byte_code(const) for const in code.co_consts if isinstance(const, CodeType))
    plain = [_constant(const) for const in code.co_consts if not isinstance(const, CodeType)]
    return code.co_code + repr((plain, code.co_names)).encode() + nested


def _constant(const: object) -> object:
    """Return a constant of byte code so that it is written alike in every process: a set has no order."""
    if isinstance(const, frozenset):
        return sorted(map(repr, const))
    return tuple(map(_constant, const)) if isinstance(const, tuple) else const


def _names_in(code: CodeType) -> set[str]:
    nested = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names_in, nested))


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None
