"""The tensors of a dense chain, laid out once for a size of batch as the products of each step take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shrinkwise.experiments.engine.fleet.dense.chain import Activation, Dense
from shrinkwise.experiments.engine.fleet.dense.places import Places
from shrinkwise.experiments.engine.fleet.dense.shared import Shared, shared
from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.updates import Block, Update

Part = tuple[Shared, Tensor, Tensor | None, Tensor]
"""Runs, and their weight, bias and output of the first layer, as factors."""

Piece = tuple[Shared, Tensor, Tensor]
"""Runs of a block, and their sink and slope, as factors."""


@dataclass(eq=False, slots=True)
class Layer:
    """One layer of all runs. Tensors with rows are ``(run, unit, row)``; a name that ends in ``_t`` has the last two turned.

    Attributes:
        number: Place in the chain, from 0.
        name: Name of its weight.
        bias_name: Name of its bias, or ``""``.
        activation: What follows.
        weight: Weights, ``(run, unit, feature)``.
        bias: Biases, ``(run, unit, 1)``, or None.
        out: What the next layer reads: activations, after dropout where there is any.
        active: Activations before dropout, as far as the backward pass needs them: ``out`` itself where it does not.
        slope: Gradient of the loss at what the layer gives before its activation, or, on the way there, after it.
        blocks: Blocks of the weight.
        bias_pieces: Blocks of the bias, each with its sink, flat, and its slope, ``(run·unit, row)``.
        parts: The products of the first layer; empty in other layers.
        pieces: For each block, those that give its gradients; likewise.
    """

    number: int
    name: str
    bias_name: str
    activation: Activation
    weight: Tensor
    weight_t: Tensor
    bias: Tensor | None
    out: Tensor
    out_t: Tensor
    active: Tensor
    active_t: Tensor
    slope: Tensor
    blocks: list[Block]
    bias_pieces: list[tuple[Block, Tensor, Tensor]]
    parts: list[Part] = field(default_factory=list)
    pieces: list[list[Piece]] = field(default_factory=list)

    def activate_(self) -> None:
        """Apply the activation to what the layer gave, in place."""
        activate_(self.out, self.activation)

    def keep_active(self, places: Places) -> None:
        """Give the activations before dropout a place of their own."""
        self.active = places("active", self.number, tuple(self.out.shape))
        self.active_t = self.active.transpose(1, 2)


def lay_out(
    chain: Sequence[Dense],
    parameters: Mapping[str, Tensor],
    update: Update,
    groups: Sequence[Group],
    n_rows: int,
    threads: int,
    places: Places,
) -> list[Layer]:
    """Return the tensors of a chain's layers for batches of so many rows.

    Args:
        chain: The layers.
        parameters: The stacked weights.
        update: Where gradients go.
        groups: Runs that share a batch.
        n_rows: Rows of a batch.
        threads: Threads that share a product.
        places: Where activations and slopes stand.
    """
    layers = []
    for number, dense in enumerate(chain):
        weight = parameters[dense.weight]
        n_runs, n_units, _ = weight.shape
        out, slope = (places(what, number, (n_runs, n_units, n_rows)) for what in ("out", "slope"))
        # The loss's gradient at the outputs stands where the outputs stood.
        slope = out if number == len(chain) - 1 else slope
        layer = Layer(
            number=number,
            name=dense.weight,
            bias_name=dense.bias or "",
            activation=dense.activation,
            weight=weight,
            weight_t=weight.transpose(1, 2),
            bias=parameters[dense.bias].unsqueeze(2) if dense.bias else None,
            out=out,
            out_t=out.transpose(1, 2),
            active=out,
            active_t=out.transpose(1, 2),
            slope=slope,
            blocks=update.blocks[dense.weight],
            bias_pieces=[
                (block, block.sink.view(-1), wide(slope, *block.runs))
                for block in (update.blocks[dense.bias] if dense.bias else ())
            ],
        )
        if number == 0:
            layer.parts = [_part(layer, these) for these in shared(groups, (0, n_runs), threads)]
            for block in layer.blocks:
                layer.pieces.append([_piece(block, layer, these) for these in shared(groups, block.runs, threads)])
        layers.append(layer)
    return layers


def wide(stacked: Tensor, begin: int, end: int) -> Tensor:
    """Return what some runs have, ``(run, unit, ...)``, as if it were one layer's, ``(run·unit, ...)``."""
    return stacked[begin:end].view(-1, stacked.shape[2])


def run_layer_(weight: Tensor, x: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Let ``out`` be ``weight @ x + bias``, run by run."""
    if bias is None:
        torch.bmm(weight, x, out=out)
    else:
        torch.baddbmm(bias, weight, x, out=out)


def activate_(out: Tensor, activation: Activation) -> None:
    """Apply an activation in place."""
    if activation == "relu":
        torch.relu_(out)
    elif activation == "tanh":
        torch.tanh_(out)
    elif activation == "sigmoid":
        torch.sigmoid_(out)


def differentiate_(slope: Tensor, out: Tensor, activation: Activation) -> None:
    """Multiply a gradient in place with an activation's derivative, which is read off the activation's own value."""
    ops = torch.ops.aten
    if activation == "relu":
        ops.threshold_backward.grad_input(slope, out, 0, grad_input=slope)
    elif activation == "tanh":
        ops.tanh_backward.grad_input(slope, out, grad_input=slope)
    elif activation == "sigmoid":
        ops.sigmoid_backward.grad_input(slope, out, grad_input=slope)


def _part(layer: Layer, these: Shared) -> Part:
    bias = None if layer.bias is None else these.factors(layer.bias)
    return these, these.factors(layer.weight), bias, these.factors(layer.out)


def _piece(block: Block, layer: Layer, these: Shared) -> Piece:
    return these, these.factors(block.sink, first=block.runs[0]), these.factors(layer.slope)
