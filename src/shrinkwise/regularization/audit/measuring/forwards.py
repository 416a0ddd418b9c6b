"""Which of a model's modules are in their forward pass, and what the outermost of them give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils.parametrize import ParametrizationList


@dataclass
class Forwards:
    """What is going on in a model.

    Attributes:
        depth: How many of its modules are in their forward pass now.
        outputs: What the outermost calls of its modules gave, in their order.
    """

    depth: int = 0
    outputs: list[Any] = field(default_factory=list)

    def tensors(self) -> list[torch.Tensor]:
        """Return copies of the floating-point tensors in the outputs."""
        return [tensor.detach().clone() for tensor in tensors_in(self.outputs) if tensor.is_floating_point()]


@contextmanager
def watched(model: nn.Module) -> Iterator[Forwards]:
    """Watch the forward passes of a model's own modules.

    That of a parametrisation counts as none: it runs wherever the weight is read, in the loss too.
    """
    computing = {id(inner) for outer in model.modules() if isinstance(outer, ParametrizationList) for inner in outer.modules()}
    own = {id(module) for module in model.modules()} - computing
    forwards = Forwards()

    def enter(module: nn.Module, args: Any) -> None:
        forwards.depth += id(module) in own

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if id(module) in own:
            forwards.depth -= 1
            if not forwards.depth:
                forwards.outputs.append(output)

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield forwards
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in somebody's inputs or outputs."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from tensors_in(item)
    elif isinstance(output, list | tuple):
        for item in output:
            yield from tensors_in(item)
    elif hasattr(output, "__dict__"):
        yield from tensors_in(vars(output))
