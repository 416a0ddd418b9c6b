"""What makes two experiments the same: what their factories make, and the code that makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim import Optimizer

from shrinkwise.experiments.own_code import code_of, name_of, parts_of
from shrinkwise.regularization.strength.schedules import Product, Schedule


def models_identity(factory: object, models: Iterable[nn.Module]) -> str:
    """Hash the networks that a factory makes: their structure, their weights at the start, and the code behind them.

    Args:
        factory: What made them.
        models: One for each variant, all of one seed.
    """
    digest = hashlib.sha256(code_of(factory))
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
            digest.update(code_of(kind))
    return digest.digest()


def optimizer_identity(factory: object, optimizer: Optimizer) -> str:
    """Hash an optimiser: its class, its settings group by group, and the code of the factory that made it."""
    digest = hashlib.sha256(code_of(factory))
    digest.update(f"{type(optimizer).__module__}.{type(optimizer).__qualname__}".encode())
    for group in optimizer.param_groups:
        settings = {name: value for name, value in group.items() if name != "params"}
        digest.update(repr(sorted(settings.items())).encode())
    return _readable(factory, digest.hexdigest()[:16])


def function_identity(function: object) -> str:
    """Hash what a user's function does: its code, what it closes over, and what of its own module it calls or reads, in turn.

    What stands in other modules is not looked into.
    """
    digest = hashlib.sha256()
    for part in parts_of(function):
        digest.update(part + b"\0")
    return f"{name_of(function)} {digest.hexdigest()[:16]}"


def schedule_identity(schedule: Schedule) -> str:
    """Return a schedule of ours as it is written; of somebody's own a hash of its code and of what it holds."""
    if isinstance(schedule, Product):
        return " * ".join(map(schedule_identity, schedule.parts))
    if type(schedule).__module__.startswith("shrinkwise."):
        return repr(schedule)
    return function_identity(schedule)
