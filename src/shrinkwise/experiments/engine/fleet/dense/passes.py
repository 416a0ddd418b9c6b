"""The passes of a chain of dense layers, by hand: what the main job of the package is made of.

Everything is held with rows last, ``(run, unit, row)``. The runs that share a batch are multiplied with it in one batched product,
of which each thread takes whole runs: their gradients, and what the update makes of them, then stay in its own cache. Gradients go
straight into the update's sink, as the products are made, and each step works in the same places as the one before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shrinkwise.experiments.engine.build import EVALUATION_ROWS
from shrinkwise.experiments.engine.fleet.dense.chain import Dense
from shrinkwise.experiments.engine.fleet.dense.laidout import Layer, activate_, differentiate_, lay_out, run_layer_, wide
from shrinkwise.experiments.engine.fleet.dense.places import Places
from shrinkwise.experiments.engine.fleet.dense.silencing import Silencing
from shrinkwise.experiments.engine.fleet.groups import Chunk, Group
from shrinkwise.experiments.engine.fleet.stack import REST, Stack, State
from shrinkwise.experiments.engine.fleet.updates import Update


class DensePasses:
    """Forward and backward passes of many dense chains at once.

    Args:
        chain: The layers.
        task: ``classification`` or ``regression``.
        n_outputs: Numbers that the last layer gives.
        stack: The weights.
        groups: Runs that share a batch.
        silencing: The dropout of the hidden layers; None where there is none.
    """

    def __init__(
        self, chain: Sequence[Dense], task: str, n_outputs: int, stack: Stack, groups: Sequence[Group], silencing: Silencing | None
    ) -> None:
        self.chain, self.task, self.n_outputs = tuple(chain), task, n_outputs
        self.stack, self.groups, self.silencing = stack, list(groups), silencing
        self._places = Places(groups[0].x)
        self._layers: dict[int, tuple[Update, list[Layer]]] = {}
        self._x: list[list[tuple[Tensor, Tensor]]] = []
        self._wanted: list[Tensor] = []

    def begin(self, chunk: Chunk, first_step: int) -> None:
        """Take the batches of the steps that come next."""
        n_steps, n_runs, n_rows = chunk.y.shape
        self._n_rows = n_rows
        # A place of the feed's is filled again and again: its views are made once.
        held = self._places.kept.get(tuple(chunk.x.shape))
        if held is None or held[0] is not chunk.x:
            flat = chunk.x.flatten(3)
            views = [[(rows, rows.t()) for rows in step] for step in flat]
            wanted = flat.new_empty(n_steps, n_runs, self.n_outputs, n_rows)
            held = self._places.kept[tuple(chunk.x.shape)] = (chunk.x, views, wanted, list(wanted))
        _, self._x, wanted, self._wanted = held
        if self.task == "classification":
            torch.eq(chunk.y.unsqueeze(2), torch.arange(self.n_outputs, device=wanted.device).unsqueeze(1), out=wanted)
        else:
            wanted.copy_(chunk.y.unsqueeze(2))
        if self.silencing is not None:
            self.silencing.begin(first_step, n_rows)

    def add_gradients(self, i: int, update: Update) -> None:
        """Let the gradients on the chunk's ``i``-th batch go to the update's sink, and each weight move when its own is there."""
        layers = self._laid_out(update)
        if self.silencing is not None:
            self.silencing.go_to(i)
        self._forward(layers, i)
        slope = layers[-1].slope
        if self.task == "classification":
            torch.softmax(slope, 1, out=slope)
        slope.sub_(self._wanted[i])
        slope.mul_((1 if self.task == "classification" else 2) / self._n_rows)
        for layer in reversed(layers):
            if layer.number:
                before = layers[layer.number - 1]
                torch.bmm(layer.weight_t, layer.slope, out=before.slope)
                self._add_hidden(layer, before, update)
                self._back_through(before)
            else:
                self._add_first(layer, i, update)
            for block, sink, slope_of_block in layer.bias_pieces:
                torch.mv(slope_of_block, self._places.ones(self._n_rows), out=sink)
                update.move(layer.bias_name, block)

    def outputs(self, state: State, parts: Sequence[tuple[Tensor, int]]) -> Tensor:
        """Return outputs in eval mode, shape ``(run, row, n_outputs)``."""
        n_rows, width = parts[0][0].shape[0], parts[0][0][0].numel()
        first = self.chain[0].weight
        if (n_further := width - state[first].shape[2]) > 0:
            # These rows have something at inputs that are silent in training; they have them last.
            state = {**state, first: torch.cat([state[first], state[first + REST][:, :, :n_further]], dim=2)}
        pieces = []
        for begin in range(0, n_rows, EVALUATION_ROWS):
            rows = [(x[begin : begin + EVALUATION_ROWS].flatten(1), n_runs) for x, n_runs in parts]
            pieces.append(self._evaluated(state, rows).clone())
        return torch.cat(pieces, dim=2).transpose(1, 2)

    def keep(self, groups: Sequence[Group], runs: Sequence[int]) -> None:
        """Let all but some runs leave."""
        self.groups = list(groups)
        self._places.clear()
        self._layers.clear()
        if self.silencing is not None:
            self.silencing.keep(groups, runs)

    def _laid_out(self, update: Update) -> list[Layer]:
        """Return the layers' tensors for batches of this size."""
        held = self._layers.get(self._n_rows)
        if held is None or held[0] is not update:
            layers = lay_out(self.chain, self.stack.parameters, update, self.groups, self._n_rows, self._places)
            for layer in layers:
                is_reversible = self.silencing is None or self.silencing.is_reversible(layer.number)
                if self.silencing is not None and not (layer.activation == "relu" and is_reversible):
                    layer.keep_active(self._places)
            held = self._layers[self._n_rows] = (update, layers)
        return held[1]

    def _forward(self, layers: Sequence[Layer], i: int) -> None:
        for layer in layers:
            if layer.number:
                before = layers[layer.number - 1]
                run_layer_(layer.weight, before.out, layer.bias, layer.out)
            else:
                for (weight, bias, out), (_, rows_t) in zip(layer.parts, self._x[i], strict=True):
                    run_layer_(weight, rows_t.expand(len(weight), -1, -1), bias, out)
            layer.activate_()
            if self.silencing is not None:
                self._silence(layer)

    def _silence(self, layer: Layer) -> None:
        """Apply the dropout that follows a layer; what the backward pass still needs of the activations is kept apart."""
        assert self.silencing is not None
        if layer.active is not layer.out:
            layer.active.copy_(layer.out)
        self.silencing.silence_(layer.number, layer.out)

    def _add_hidden(self, layer: Layer, before: Layer, update: Update) -> None:
        # Full dropout silences nothing in the backward pass: the layer behind it learns from all that it could have seen.
        is_full = self.silencing is not None and self.silencing.is_full(before.number)
        seen = before.active_t if is_full else before.out_t
        for block in layer.blocks:
            begin, end = block.runs
            torch.bmm(layer.slope[begin:end], seen[begin:end], out=block.sink)
            update.move(layer.name, block)

    def _add_first(self, layer: Layer, i: int, update: Update) -> None:
        rows = self._x[i]
        for block, pieces in zip(layer.blocks, layer.pieces, strict=True):
            for group, sink, slope in pieces:
                torch.bmm(slope, rows[group][0].expand(len(slope), -1, -1), out=sink)
            update.move(layer.name, block)
        update.move_without_gradient(layer.name + REST)

    def _back_through(self, layer: Layer) -> None:
        """Take the gradient back through a hidden layer's dropout and activation, in place."""
        if self.silencing is not None:
            self.silencing.silence_slope_(layer.number, layer.out, layer.slope)
        differentiate_(layer.slope, layer.active, layer.activation)

    def _evaluated(self, state: State, parts: Sequence[tuple[Tensor, int]]) -> Tensor:
        hidden: Tensor | None = None
        for number, layer in enumerate(self.chain):
            weight = state[layer.weight]
            bias = state[layer.bias].unsqueeze(2) if layer.bias is not None else None
            out = self._places("evaluated", number, (*weight.shape[:2], len(parts[0][0])))
            if hidden is None:
                begin = 0
                for x, n_runs in parts:
                    end = begin + n_runs
                    torch.mm(wide(weight, begin, end), x.t(), out=wide(out, begin, end))
                    begin = end
                if bias is not None:
                    out.add_(bias)
            else:
                run_layer_(weight, hidden, bias, out)
            activate_(out, layer.activation)
            hidden = out
        assert hidden is not None
        return hidden
