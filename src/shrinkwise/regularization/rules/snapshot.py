"""Everything that a step or a forward pass may change, kept and put back to the last bit."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

_HOOK_DEPTH = 4
_LEFT_ALONE = (type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device)


class Snapshot:
    """What objects held when it was taken, tensors by value, to be put back as often as one likes.

    Follows dicts, lists, tuples, sets, deques, tensors (with their ``grad``), arrays, generators, modules, and plain objects that
    a module or an optimiser holds; other optimisers too, where one was given. The same objects stay in their places: what
    pointed at a tensor still does. Copies of values lie on the host, so a full accelerator has room; meta tensors have none.

    Args:
        holders: Modules and optimisers, whose attributes are kept.
        hooks: Callables, of which also what they close over and the objects that they hold are followed, a few steps far.
    """

    def __init__(self, holders: Iterable[Any], hooks: Iterable[Any] = ()) -> None:
        holders = list(holders)
        has_optimizer = any(isinstance(holder, Optimizer) for holder in holders)
        self._left_alone = _LEFT_ALONE if has_optimizer else (*_LEFT_ALONE, Optimizer)
        self._sharded = list(filter(is_sharded, holders))
        self._puts_back: list[Callable[[], object]] = []
        self._puts_back_parameter: dict[int, Callable[[], object]] = {}
        self._seen: dict[int, Any] = {}
        self._values: dict[int, torch.Tensor] = {}
        # Hooks first: what is met once is not entered again, and an optimiser's own entries lead to its hooks.
        for hook in hooks:
            self._keep(hook, _HOOK_DEPTH)
        for holder in holders:
            self._keep(holder, 1)
        self._puts_back += [_kept_torch_rng(), _kept_numpy_rng(), _kept_python_rng()]

    @torch.no_grad()
    def restore(self, parameters: Collection[int] | None = None) -> None:
        """Put everything back as it was.

        Args:
            parameters: Identities of the parameters whose values and gradients are put back; all of them if left out.
        """
        for module in self._sharded:
            # A forward pass leaves the whole parameters in place, and FSDP2 would not know that they are gone.
            module.reshard()
        for put_back in self._puts_back:
            put_back()
        for key, put_back in self._puts_back_parameter.items():
            if parameters is None or key in parameters:
                put_back()

    def written(self) -> frozenset[int]:
        """Return the identities of the parameters that differ from what they were."""
        pairs = [(key, self._seen[key], self._values[key]) for key in self._puts_back_parameter if key in self._values]
        return frozenset(key for key, tensor, values in pairs if not _is_equal(tensor, values))

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the values that a tensor had, on the host."""
        return self._values[id(tensor)]

    def _keep(self, value: Any, depth: int) -> None:
        """Keep one value; ``depth`` says how many more plain objects are entered."""
        if id(value) in self._seen or isinstance(value, self._left_alone):
            return
        # Held, so that nobody else gets its identity.
        self._seen[id(value)] = value
        if isinstance(value, torch.Tensor):
            self._keep_tensor(value, depth)
        elif isinstance(value, torch.Generator):
            self._puts_back.append(partial(value.set_state, value.get_state()))
        elif isinstance(value, np.ndarray):
            self._puts_back.append(partial(np.copyto, value, value.copy()))
        elif isinstance(value, nn.Module | Optimizer):
            self._keep(vars(value), 1)
        elif isinstance(value, dict | list | set | deque | tuple):
            self._keep_container(value, depth)
        elif depth:
            self._keep_object(value, depth)

    def _keep_object(self, value: Any, depth: int) -> None:
        if isinstance(value, MethodType):
            self._keep(value.__self__, depth)
        elif isinstance(value, partial):
            self._keep((value.func, value.args, value.keywords), depth)
        elif isinstance(value, FunctionType):
            self._keep_closure(value, depth)
        elif hasattr(value, "__dict__"):
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
            try:
                contents = cell.cell_contents
            except ValueError:  # the name has no value yet
                continue
            self._puts_back.append(partial(setattr, cell, "cell_contents", contents))
            self._keep(contents, depth)

    def _keep_tensor(self, tensor: torch.Tensor, depth: int) -> None:
        if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
            return
        puts_back: list[Callable[[], object]] = []
        grad = tensor.grad if tensor.is_leaf else None
        if tensor.layout is torch.strided:
            alias = local(tensor)
            if alias.untyped_storage().nbytes() < alias.nbytes and not alias.is_meta:
                return  # FSDP2 frees what it gathered and keeps the empty tensor
            self._values[id(tensor)] = alias if tensor.is_meta else alias.to("cpu", copy=True)
            puts_back.append(partial(_put_values, tensor, alias, self._values[id(tensor)]))
        if tensor.is_leaf:
            puts_back.append(partial(setattr, tensor, "grad", grad))
        if isinstance(tensor, nn.Parameter):
            self._puts_back_parameter[id(tensor)] = lambda: [put_back() for put_back in puts_back]
        else:
            self._puts_back += puts_back
        if grad is not None:
            self._keep(grad, depth)


@contextmanager
def only_looking(model: nn.Module) -> Iterator[Snapshot]:
    """Put parameters, gradients, buffers, attributes and the global random generators back after forward or backward passes.

    A forward pass may well write parameters: the slow copy of a momentum encoder, rows that an embedding with ``max_norm`` scales.
    """
    kept = Snapshot(model.modules())
    try:
        yield kept
    finally:
        kept.restore()


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its graph; of a sharded one, the part that lies here."""
    tensor = tensor.detach()
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def is_sharded(module: Any) -> bool:
    """Whether FSDP2 holds a module's parameters; told by name, since nobody need have imported it."""
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)


def _refill(container: Any, items: Any) -> None:
    """Give a dict, list, deque or set its items back, in their order, if any of them has changed."""
    if isinstance(container, dict):
        if [*map(id, container), *map(id, container.values())] != [*map(id, items), *map(id, items.values())]:
            # Somebody's kind of dict may forbid either; a module may hold such a one.
            kind = OrderedDict if isinstance(container, OrderedDict) else dict
            kind.clear(container)
            kind.update(container, items)
    elif isinstance(container, list):
        container[:] = items
    elif isinstance(container, deque):
        container.clear()
        container.extend(items)
    else:
        container.clear()
        container.update(items)


def _put_values(tensor: torch.Tensor, alias: torch.Tensor, values: torch.Tensor) -> None:
    if tensor.is_meta:
        return
    now = local(tensor)
    if now.data_ptr() != alias.data_ptr() or now.shape != alias.shape or now.dtype != alias.dtype:
        tensor.data = alias
    # Not counted as a change of the tensor: a graph that somebody holds stays good for its backward pass.
    alias.data.copy_(values)


def _is_equal(tensor: torch.Tensor, values: torch.Tensor) -> bool:
    now = local(tensor)
    return now.is_meta or (now.dtype == values.dtype and torch.equal(now.cpu(), values))


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
