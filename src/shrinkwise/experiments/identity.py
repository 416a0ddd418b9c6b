"""What makes two experiments the same: what their factories make, and the code that makes it."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer


def models_identity(factory: object, models: Iterable[nn.Module]) -> str:
    """Hash the networks that a factory makes: their structure, their weights at the start, and the code behind them.

    Args:
        factory: What made them.
        models: One for each variant, all of one seed.
    """
    digest = hashlib.sha256(_code_of(factory))
    for each in sorted(_model_digest(model) for model in models):
        digest.update(each)
    return _readable(factory, digest.hexdigest()[:16])


def _readable(factory: object, digest: str) -> str:
    """Return a factory of our own as it is written, so that a difference can be read; else its name and a hash."""
    if type(factory).__module__.startswith("shrinkwise."):
        return repr(factory)
    return f"{getattr(factory, '__name__', type(factory).__name__)} {digest}"


def _model_digest(model: nn.Module) -> bytes:
    digest = hashlib.sha256(repr(model).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes() if isinstance(value, Tensor) else repr(value).encode())
    for kind in sorted({type(module) for module in model.modules()}, key=lambda kind: kind.__qualname__):
        if not kind.__module__.startswith(("torch.", "shrinkwise.")):
            digest.update(_code_of(kind))
    return digest.digest()


def optimizer_identity(factory: object, optimizer: Optimizer) -> str:
    """Hash an optimiser: its class, its settings group by group, and the code of the factory that made it."""
    digest = hashlib.sha256(_code_of(factory))
    digest.update(f"{type(optimizer).__module__}.{type(optimizer).__qualname__}".encode())
    for group in optimizer.param_groups:
        settings = {name: value for name, value in group.items() if name != "params"}
        digest.update(repr(sorted(settings.items())).encode())
    return _readable(factory, digest.hexdigest()[:16])


def _code_of(thing: object) -> bytes:
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


def _byte_code(code: CodeType | None) -> bytes:
    if code is None:
        return b""
    nested = b"".join(_byte_code(const) for const in code.co_consts if isinstance(const, CodeType))
    plain = [const for const in code.co_consts if not isinstance(const, CodeType)]
    return code.co_code + repr((plain, code.co_names)).encode() + nested


def function_identity(function: object) -> str:
    """Hash what a user's function does: its code, what it closes over, and what of its own module it calls or reads, in turn.

    What stands in other modules is not looked into, and of values that are neither plain nor arrays only the type counts.
    """
    digest = hashlib.sha256()
    for part in _parts_of(function, set()):
        digest.update(part + b"\0")
    return f"{name_of(function)} {digest.hexdigest()[:16]}"


def name_of(function: object) -> str:
    """Return the name under which people know a function: its own, or that of the class of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _parts_of(thing: object, seen: set[int]) -> Iterator[bytes]:
    """Yield everything on which a value or a function depends, each function once."""
    if isinstance(thing, functools.partial):
        yield from _parts_of((thing.func, thing.args, thing.keywords), seen)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _parts_of(item, seen)
    elif isinstance(thing, dict):
        for name, item in thing.items():
            yield repr(name).encode()
            yield from _parts_of(item, seen)
    elif isinstance(thing, Tensor | np.ndarray):
        yield np.asarray(thing.detach().cpu() if isinstance(thing, Tensor) else thing).tobytes()
    elif thing is None or isinstance(thing, bool | int | float | str | bytes):
        yield repr(thing).encode()
    elif id(thing) not in seen:
        seen.add(id(thing))
        yield from _parts_of_code(thing, seen)


def _parts_of_code(thing: object, seen: set[int]) -> Iterator[bytes]:
    if inspect.ismethod(thing):
        yield from _parts_of((thing.__func__, thing.__self__), seen)
    elif inspect.isfunction(thing):
        yield _code_of(thing)
        yield from _parts_of((thing.__defaults__, thing.__kwdefaults__), seen)
        yield from _parts_of([_content(cell) for cell in thing.__closure__ or ()], seen)
        for name in sorted(_names_in(thing.__code__)):
            if name in thing.__globals__ and _is_own(thing.__globals__[name], thing.__module__):
                yield name.encode()
                yield from _parts_of(thing.__globals__[name], seen)
    elif inspect.isclass(thing) or inspect.isbuiltin(thing) or inspect.ismodule(thing):
        yield _code_of(thing) if inspect.isclass(thing) else repr(getattr(thing, "__name__", thing)).encode()
    else:
        yield _code_of(thing)
        yield from _parts_of(getattr(thing, "__dict__", None) or type(thing).__qualname__, seen)


def _is_own(value: object, module: str) -> bool:
    """Whether a global of a function's module is part of what the function does: code of that module, or a plain value."""
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__module__ == module
    return isinstance(value, bool | int | float | str | bytes | list | tuple | dict | functools.partial)


def _names_in(code: CodeType) -> set[str]:
    nested = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names_in, nested))


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None
