"""Everything that a step or a forward pass may change, kept and put back to the last bit."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from shrinkwise.regularization.audit.arithmetic import local
from shrinkwise.regularization.audit.groups import step_hooks

_HOOK_DEPTH = 4
_LEFT_ALONE = (nn.Module, Optimizer, type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device)


class Snapshot:
    """What objects held when it was taken, tensors by value, to be put back as often as one likes.

    Follows dicts, lists, tuples, sets, tensors (with their ``grad``), arrays and generators. The same objects stay in their places:
    what pointed at a tensor still does. Copies of values lie on the host, so a full accelerator has room.

    Args:
        modules: Modules and optimisers, whose attributes are kept.
        hooks: Callables, of which also what they close over and the objects that they hold are followed, a few steps far.
        skip_parameters: Whether parameters are left out: for what only reads them.
    """

    def __init__(self, modules: Iterable[Any], hooks: Iterable[Any] = (), *, skip_parameters: bool = False) -> None:
        modules = list(modules)
        self._skip_parameters = skip_parameters
        self._sharded = list(filter(is_sharded, modules))
        self._puts_back: list[Callable[[], object]] = []
        self._seen: dict[int, Any] = {}
        self._values: dict[int, torch.Tensor] = {}
        # Hooks first: what is met once is not entered again, and an optimiser's own entries lead to its hooks.
        for hook in hooks:
            self._keep(hook, _HOOK_DEPTH)
        for module in modules:
            self._keep(vars(module), 0)
        self._puts_back += [_kept_torch_rng(), _kept_numpy_rng(), _kept_python_rng()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back as it was."""
        for module in self._sharded:
            # A forward pass leaves the whole parameters in place, and FSDP2 would not know that they are gone.
            module.reshard()
        for put_back in self._puts_back:
            put_back()

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the values that a tensor had, on the host."""
        return self._values[id(tensor)]

    def _keep(self, value: Any, depth: int) -> None:
        """Keep one value; ``depth`` says how many more plain objects are entered."""
        if id(value) in self._seen or isinstance(value, _LEFT_ALONE):
            return
        # Held, so that nobody else gets its identity.
        self._seen[id(value)] = value
        if isinstance(value, torch.Tensor):
            self._keep_tensor(value, depth)
        elif isinstance(value, torch.Generator):
            self._puts_back.append(partial(value.set_state, value.get_state()))
        elif isinstance(value, np.ndarray):
            self._puts_back.append(partial(np.copyto, value, value.copy()))
        elif isinstance(value, dict | list | set | tuple):
            self._keep_container(value, depth)
        elif depth and isinstance(value, MethodType):
            self._keep(value.__self__, depth)
        elif depth and isinstance(value, FunctionType):
            self._keep_closure(value, depth)
        elif depth and hasattr(value, "__dict__"):
            self._keep(vars(value), depth - 1)

    def _keep_container(self, value: Any, depth: int) -> None:
        if isinstance(value, tuple):
            children: Iterable[Any] = value
        else:
            items = dict(value) if isinstance(value, dict) else value.copy()
            children = items.values() if isinstance(value, dict) else items
            self._puts_back.append(partial(_refill, value, items))
        for child in children:
            self._keep(child, depth)

    def _keep_closure(self, function: FunctionType, depth: int) -> None:
        for cell in function.__closure__ or ():
            self._puts_back.append(partial(setattr, cell, "cell_contents", cell.cell_contents))
            self._keep(cell.cell_contents, depth)

    def _keep_tensor(self, tensor: torch.Tensor, depth: int) -> None:
        is_uninitialized = isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer)
        if is_uninitialized or (self._skip_parameters and isinstance(tensor, nn.Parameter)):
            return
        grad = tensor.grad if tensor.is_leaf else None
        if tensor.layout is torch.strided:
            alias = local(tensor)
            self._values[id(tensor)] = alias if tensor.is_meta else alias.to("cpu", copy=True)
            self._puts_back.append(partial(_put_values, tensor, alias, self._values[id(tensor)]))
        if tensor.is_leaf:
            self._puts_back.append(partial(setattr, tensor, "grad", grad))
        if grad is not None:
            self._keep(grad, depth)


def is_sharded(module: Any) -> bool:
    """Whether FSDP2 holds a module's parameters; told by name, since nobody need have imported it."""
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)


def _refill(container: Any, items: Any) -> None:
    """Give a dict, list or set its items back, in their order, if any of them has changed."""
    if isinstance(container, dict):
        if [*map(id, container), *map(id, container.values())] != [*map(id, items), *map(id, items.values())]:
            # Somebody's kind of dict may forbid either; a module may hold such a one.
            kind = OrderedDict if isinstance(container, OrderedDict) else dict
            kind.clear(container)
            kind.update(container, items)
    elif isinstance(container, list):
        container[:] = items
    else:
        container.clear()
        container.update(items)


def _put_values(tensor: torch.Tensor, alias: torch.Tensor, values: torch.Tensor) -> None:
    if tensor.is_meta:
        return
    now = local(tensor)
    if now.data_ptr() != alias.data_ptr() or now.shape != alias.shape or now.dtype != alias.dtype:
        tensor.data = alias
    alias.copy_(values)


def of_training(model: nn.Module, optimizers: Sequence[Optimizer] = (), *, skip_parameters: bool = False) -> Snapshot:
    """Keep a model, its optimisers with what their step hooks hold, and the global random generators."""
    hooks = [hook for optimizer in optimizers for hook in step_hooks(optimizer)]
    return Snapshot([*model.modules(), *optimizers], hooks, skip_parameters=skip_parameters)


def _kept_torch_rng() -> Callable[[], None]:
    host = torch.random.get_rng_state()
    device = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def put_back() -> None:
        torch.random.set_rng_state(host)
        if device is not None:
            torch.cuda.set_rng_state_all(device)

    return put_back


def _kept_numpy_rng() -> Callable[[], None]:
    # Somebody else's global generator, to be left as it was.
    return partial(np.random.set_state, np.random.get_state())  # noqa: NPY002


def _kept_python_rng() -> Callable[[], None]:
    return partial(random.setstate, random.getstate())
