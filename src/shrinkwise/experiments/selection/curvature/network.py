"""A trained network as curvature looks at it: at rest, its loss a mean over rows, every operation differentiable both ways."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from shrinkwise.errors import MissingExtraError, ModelError, ShrinkwiseError
from shrinkwise.regularization.rules import Placement, chosen, place

_ROWS = 512
"""Rows of one product: what a product holds grows with them, what it gives does not depend on them."""
_SHORT = ("can't allocate memory", "out of memory", "not enough memory")
_OF_DERIVATIVES = ("derivative", "grad", "forward AD", "functorch", "vmap", "batching rule")
"""Words in which torch says that it cannot differentiate something; other errors outside of a network's own code are ours."""


class Trained:
    """A trained network and the rows that it was trained on.

    Args:
        model: The network; it is left as it was found.
        x: Training rows, shape ``(batch, ...)``.
        y: Class indices or numbers, shape ``(batch,)``.
        task: ``classification`` or ``regression``.

    Attributes:
        weights: The weight matrices and filters that are trained.
        n: Number of rows.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, task: str) -> None:
        self.model, self.task, self.n = model, task, len(y)
        self.weights: tuple[Placement, ...] = chosen(place(model), "weights")
        self.reader = _Reader(model, task)
        self.loss: nn.Module = nn.CrossEntropyLoss() if task == "classification" else nn.MSELoss()
        self.batches = self.cut(x, y)

    def cut(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Cut rows into batches, on the device of the network."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        targets = y if self.task == "classification" else y.reshape(-1, 1)
        return [(rows.to(device), wanted.to(device)) for rows, wanted in zip(x.split(_ROWS), targets.split(_ROWS), strict=True)]

    def squared_errors(self) -> float:
        """Return the sum of squared errors over the rows."""
        with torch.no_grad():
            return sum(float((self.reader(x) - y).double().square().sum()) for x, y in self.batches)

    def gradient(self, parameters: Sequence[nn.Parameter], batches: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Return the gradient of the mean loss over the rows of ``batches``, one tensor a parameter."""
        n = sum(len(y) for _, y in batches)
        total = [torch.zeros_like(parameter) for parameter in parameters]
        for x, y in batches:
            loss = self.loss(self.reader(x), y) * (len(y) / n)
            for found, part in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if part is not None:
                    found += part
        return total

    def gauss_newton(self, parameters: Sequence[nn.Parameter]) -> Any:
        """Return the Gauss-Newton matrix of the mean loss by some parameters, a linear operator of curvlinops."""
        return curvlinops().GGNLinearOperator(
            self.reader, self.loss, list(parameters), self.batches, check_deterministic=False, num_data=self.n
        )


class _Reader(nn.Module):
    """Gives outputs as the losses of torch want them, shape ``(batch, n_outputs)``."""

    def __init__(self, model: nn.Module, task: str) -> None:
        super().__init__()
        self.model, self.is_regression = model, task == "regression"

    def forward(self, x: Tensor) -> Tensor:
        try:
            outputs: Tensor = self.model(x)
        except (RuntimeError, ValueError, TypeError) as error:
            # It took the same rows while it was trained: what it cannot do is to be differentiated, or to take them one by one.
            if isinstance(error, ShrinkwiseError) or _is_of_memory(error):
                raise
            raise _no_derivatives(self.model, error) from error
        return outputs.reshape(len(x), -1) if self.is_regression else outputs


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Keep a network in eval mode, its statistics fixed and its dropout off, and out of kernels that have no forward derivative.

    Raises:
        ModelError: The network has an operation that torch cannot differentiate so.
    """
    modes = {module: module.training for module in model.modules()}
    is_fast = torch.backends.mha.get_fastpath_enabled()
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _without_word_of_torch_jit():
            yield
    except RuntimeError as error:
        if isinstance(error, ShrinkwiseError) or _is_of_memory(error) or not any(word in str(error) for word in _OF_DERIVATIVES):
            raise
        raise _no_derivatives(model, error) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
        for module, is_training in modes.items():
            module.training = is_training


def _is_of_memory(error: Exception) -> bool:
    return any(word in str(error) for word in _SHORT)


def _no_derivatives(model: nn.Module, error: Exception) -> ModelError:
    return ModelError(
        f"{type(model).__name__} raised {type(error).__name__} ({str(error).splitlines()[0] if str(error) else 'no words'})",
        "its curvature needs derivatives of its outputs, forwards and backwards, row by row",
        "leave layers out for this network: layers=0 (--layers 0)",
    )


@contextmanager
def _without_word_of_torch_jit() -> Iterator[None]:
    """Let torch at its first forward derivative, and what curvlinops stands on at its import, use what torch deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
        yield


def curvlinops() -> Any:
    """Import curvlinops.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        with _without_word_of_torch_jit():
            return importlib.import_module("curvlinops")
    except ImportError as error:
        raise MissingExtraError(
            "curvlinops is not installed", "the curvature of a network is taken from it", "pip install 'shrinkwise[evidence]'"
        ) from error
