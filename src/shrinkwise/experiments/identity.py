"""What makes two experiments the same: what their factories make, and the code that makes it."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterable
from types import CodeType
from typing import Any

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
