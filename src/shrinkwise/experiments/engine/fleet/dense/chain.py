"""Which networks are a plain chain of dense layers, for which the passes are written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from shrinkwise.experiments.models import MLP
from shrinkwise.regularization.dropout import Dropout

Activation = Literal["relu", "tanh", "sigmoid", "none"]

_ACTIVATIONS: dict[type[nn.Module], Activation] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.Identity: "none"}


@dataclass(frozen=True)
class Dense:
    """One layer of a chain: ``dropout(activation(weight @ x + bias))``.

    Attributes:
        weight: Name of the weight, shape ``(out, in)``.
        bias: Name of the bias, or None.
        activation: What follows.
        dropout: Name of the dropout module that follows, or None.
    """

    weight: str
    bias: str | None
    activation: Activation = "none"
    dropout: str | None = None


def chain_of(model: nn.Module) -> tuple[Dense, ...] | None:
    """Return the layers of a network that is a chain of Linear layers over flat rows, or None for any other.

    Our own :class:`MLP`, and a Sequential of Flatten, Linear, ReLU, Tanh, Sigmoid, Identity and our Dropout, whose last layer is a
    Linear. Subclasses and modules with hooks are something else.

    >>> [layer.activation for layer in chain_of(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))]
    ['tanh', 'none']
    """
    modules = [module for module in model.modules() if module is not model]
    parameters = [parameter for module in modules for parameter in module.parameters(recurse=False)]
    is_plain = all(parameter.requires_grad for parameter in parameters) and not any(map(_has_hooks, (model, *modules)))
    if not is_plain or len({id(parameter) for parameter in parameters}) < len(parameters):
        return None
    layers: tuple[Dense, ...] | None
    if type(model) is MLP:
        layers = _of_mlp(model)
    elif type(model) is nn.Sequential:
        layers = _of_sequence(model)
    else:
        return None
    return layers if layers and layers[-1].activation == "none" and layers[-1].dropout is None else None


def _of_mlp(model: MLP) -> tuple[Dense, ...] | None:
    if any(type(layer) is not nn.Linear for layer in model.layers) or any(type(each) is not Dropout for each in model.dropouts):
        return None
    *hidden, last = (_dense(f"layers.{i}", layer) for i, layer in enumerate(model.layers))
    inner = [Dense(layer.weight, layer.bias, "relu", f"dropouts.{i}") for i, layer in enumerate(hidden)]
    return (*inner, last)


def _of_sequence(model: nn.Sequential) -> tuple[Dense, ...] | None:
    layers: list[Dense] = []
    # Not named_children(), which leaves out a module that stands in two places.
    if len({id(module) for module in model if type(module) in (nn.Linear, Dropout)}) < sum(
        type(module) in (nn.Linear, Dropout) for module in model
    ):
        return None
    for name, module in model._modules.items():
        if type(module) is nn.Linear:
            layers.append(_dense(name, module))
        elif type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim == -1 and not layers:
            continue
        elif layers and (changed := _followed(layers[-1], name, module)) is not None:
            layers[-1] = changed
        else:
            return None
    return tuple(layers)


def _followed(layer: Dense, name: str, module: nn.Module) -> Dense | None:
    """Return a layer with what follows it, where that still fits one layer."""
    activation = _ACTIVATIONS.get(type(module))
    if activation is not None and layer.dropout is None and "none" in (layer.activation, activation):
        return Dense(layer.weight, layer.bias, activation if layer.activation == "none" else layer.activation)
    # In a sequence a dropout cannot call the layer behind it, as the full form has to.
    if type(module) is Dropout and layer.dropout is None and module.backward != "full":
        return Dense(layer.weight, layer.bias, layer.activation, name)
    return None


def _dense(name: str, layer: nn.Module) -> Dense:
    return Dense(f"{name}.weight", f"{name}.bias" if layer.bias is not None else None)


def _has_hooks(module: nn.Module) -> bool:
    return any(any(getattr(module, name)) for name in _hook_names())


def _hook_names() -> Iterator[str]:
    yield from ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
