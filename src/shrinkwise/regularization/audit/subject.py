"""What can be audited: a model and its optimisers, found in what people hold in their hands.

Lightning and transformers are known by what their objects offer; neither is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from shrinkwise.errors import ModelError, SettingError

_WRAPPERS = ("accelerate", "lightning", "lightning_fabric", "pytorch_lightning")


@dataclass(frozen=True)
class Subject:
    """A model and the optimisers that train it, none where none is known."""

    model: nn.Module
    optimizers: tuple[Optimizer, ...]


def read_subject(first: Any, optimizer: Any = None) -> Subject:
    """Find the model and its optimisers.

    Args:
        first: A module; a tuple of a module and optimisers; a LightningModule, whose ``configure_optimizers`` is called unless its
            trainer has optimisers; or a Hugging Face Trainer, whose ``create_optimizer`` is called unless it has one.
        optimizer: An optimiser or several, also as ``configure_optimizers`` may return them; wrappers of Accelerate and
            Lightning are looked through.

    Returns:
        The model, and each optimiser once.

    Raises:
        ModelError: ``first`` is none of these.
        SettingError: What should be an optimiser is none, or making one raised an error.

    >>> model = nn.Linear(2, 1)
    >>> optimizer = __import__("torch").optim.SGD(model.parameters(), lr=0.1)
    >>> read_subject((model, optimizer)) == read_subject(model, [optimizer]) == Subject(model, (optimizer,))
    True
    """
    if isinstance(first, tuple | list) and first:
        first, *rest = first
        if rest and optimizer is not None:
            raise SettingError("the optimiser is given twice", "the tuple holds one already", "give it in one of the two places")
        optimizer = rest or optimizer
    if isinstance(first, nn.Module):
        if optimizer is None and callable(getattr(first, "configure_optimizers", None)):
            optimizer = _optimizers_of_lightning(first)
        return Subject(first, optimizers_in(optimizer))
    model = getattr(first, "model", None)
    if isinstance(model, nn.Module) and callable(getattr(first, "create_optimizer", None)):
        return Subject(model, optimizers_in(_optimizer_of_trainer(first) if optimizer is None else optimizer))
    if hasattr(first, "lightning_module") and type(first).__module__.partition(".")[0] in _WRAPPERS:
        raise ModelError(
            "got a Trainer of Lightning",
            "the model and its optimisers belong to the LightningModule",
            "give that: sw.audit(module)",
        )
    raise ModelError(
        f"got {type(first).__name__}",
        "an audit looks at a model and its optimisers",
        "give a torch.nn.Module and its optimiser, a tuple of both, a LightningModule or a Hugging Face Trainer",
    )


def optimizers_in(given: Any) -> tuple[Optimizer, ...]:
    """Return each optimiser in ``given`` once; schedulers beside them are passed over.

    Raises:
        SettingError: There is none, though ``given`` is not None.
    """
    found = list(dict.fromkeys(_walk(given)))
    if given is not None and not found:
        raise SettingError(
            f"the optimiser is {_described(given)}",
            "what shrinks is read from a torch optimiser",
            "give a torch.optim.Optimizer, several in a list, or none at all",
        )
    return tuple(found)


def _described(given: Any) -> str:
    while isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    return "None" if given is None else f"a {type(given).__name__}"


def _walk(given: Any) -> Iterator[Optimizer]:
    if isinstance(given, dict):
        yield from _walk(given.get("optimizer"))
    elif isinstance(given, list | tuple):
        for item in given:
            yield from _walk(item)
    else:
        while type(given).__module__.partition(".")[0] in _WRAPPERS and hasattr(given, "optimizer"):
            given = given.optimizer
        if isinstance(given, Optimizer):
            yield given


def _optimizers_of_lightning(module: Any) -> Any:
    trainer = getattr(module, "_trainer", None)
    if live := getattr(trainer, "optimizers", None):
        return live
    try:
        return module.configure_optimizers()
    except Exception as error:
        raise SettingError(
            f"configure_optimizers of {type(module).__name__} raised {type(error).__name__} ({error})",
            "it is called to learn what would shrink",
            "give the optimiser yourself: sw.audit(module, optimizer)",
        ) from error


def _optimizer_of_trainer(trainer: Any) -> Any:
    if trainer.optimizer is not None:
        return trainer.optimizer
    try:
        return trainer.create_optimizer()
    finally:
        # The trainer makes its own when it trains, on the model as it is then.
        trainer.optimizer = None
