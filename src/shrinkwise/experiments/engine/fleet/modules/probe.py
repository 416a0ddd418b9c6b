"""What one forward pass of a network tells: which tensors it changes, and how much of its time is overhead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BYTES_AT_ONCE = 2**18
"""What a mean operation of a pass should write: less is mostly overhead, more leaves a core's cache."""


@dataclass(frozen=True)
class Probed:
    """One forward pass, looked at.

    Attributes:
        changed: Names of the tensors that it writes to or replaces.
        row_bytes: What a mean operation writes for each row.
        weight_bytes: What the gradient of a mean weight takes, spread over all operations.
        takes_channels_last: Whether it is a convolution's that gives the same with images and filters in the order ``(batch, row,
            column, channel)``, in which a CPU convolves and pools faster.
    """

    changed: tuple[str, ...]
    row_bytes: float
    weight_bytes: float
    takes_channels_last: bool

    def runs_at_once(self, n_rows: int) -> int:
        """Return how many runs a pass on so many rows should be for."""
        return max(1, int(_BYTES_AT_ONCE / max(1.0, self.row_bytes * n_rows + self.weight_bytes)))

    def rows_at_once(self) -> int:
        """Return how many rows of one run a pass without gradients should be for."""
        return max(64, int(4 * _BYTES_AT_ONCE / max(1.0, self.row_bytes)))


def probed(forward: Callable[[dict[str, Tensor], Tensor], Any], state: Mapping[str, Tensor], x: Tensor) -> Probed:
    """Look at a forward pass.

    Args:
        forward: Runs it, given tensors by name, and rows; it may write to tensors and put others into their place.
        state: The tensors; left as they are.
        x: The rows that it is for.
    """
    before = {name: tensor.clone() for name, tensor in state.items()}
    versions = {name: tensor._version for name, tensor in before.items()}
    after = dict(before)
    with torch.no_grad(), _Sizes() as sizes:
        outputs = forward(after, x)
    # A BatchNorm writes to its statistics without a new version, and what is put into a place may have the old one.
    changed = tuple(
        name
        for name, tensor in after.items()
        if tensor is not before[name] or tensor._version != versions[name] or not torch.equal(tensor, state[name])
    )
    weights = [tensor.nbytes for tensor in state.values()]
    n_operations = sizes.n + len(weights)
    return Probed(
        changed,
        sizes.n_bytes / len(x) / max(1, n_operations),
        sum(weights) / max(1, n_operations),
        _takes_channels_last(forward, state, x, outputs),
    )


def channels_last(tensor: Tensor) -> Tensor:
    """Return images or filters with their channels last in memory, and any other tensor as it is."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _takes_channels_last(
    forward: Callable[[dict[str, Tensor], Tensor], Any], state: Mapping[str, Tensor], x: Tensor, outputs: Any
) -> bool:
    if x.device.type != "cpu" or all(tensor.ndim != 4 for tensor in state.values()):
        return False
    try:
        with torch.no_grad():
            found = forward({name: channels_last(tensor.clone()) for name, tensor in state.items()}, channels_last(x))
        return torch.allclose(found, outputs, rtol=1e-3, atol=1e-4 * float(outputs.abs().max()))
    except Exception:  # noqa: BLE001  a network may ask for an order of its own, by view() for one
        return False


class _Sizes(TorchDispatchMode):
    """Counts operations that write something, and what they write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n, self.n_bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **kwargs or {})
        if not func.is_view:
            self.n += 1
            self.n_bytes += sum(leaf.nbytes for leaf in tree_leaves(found) if isinstance(leaf, Tensor))
        return found
