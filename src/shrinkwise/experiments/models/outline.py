"""What a network looks like from outside: the layers that hold parameters, in the order in which they stand."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from shrinkwise.experiments.study import Layer

_FEATURES_IN = ("in_features", "in_channels", "num_embeddings", "input_size")
_FEATURES_OUT = ("out_features", "out_channels", "embedding_dim", "hidden_size")


def outline(model: nn.Module, penalised: Collection[str] = ()) -> tuple[Layer, ...]:
    """List the modules of ``model`` that hold parameters of their own.

    Args:
        model: Any module.
        penalised: Dotted names of the parameters that a penalty acts on.

    >>> [(layer.n_in, layer.n_out, layer.penalised) for layer in outline(nn.Sequential(nn.Linear(4, 3)), {"0.weight"})]
    [(4, 3, ('weight',))]
    """
    layers = []
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        prefix = f"{name}." if name else ""
        layers.append(
            Layer(
                name=name or type(module).__name__,
                kind=type(module).__name__,
                n_in=_first_number(module, _FEATURES_IN),
                n_out=_first_number(module, _FEATURES_OUT),
                n_parameters=sum(parameter.numel() for parameter in own.values() if parameter.requires_grad),
                penalised=tuple(key for key in own if prefix + key in penalised),
            )
        )
    return tuple(layers)


def _first_number(module: nn.Module, names: tuple[str, ...]) -> int:
    return next((value for name in names if isinstance(value := getattr(module, name, None), int)), 0)
