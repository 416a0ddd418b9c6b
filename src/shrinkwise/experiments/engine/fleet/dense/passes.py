"""The passes of a chain of dense layers, by hand: what the main job of the package is made of.

Everything is held with rows last, ``(run, unit, row)``. Runs are multiplied with the batches that they share in batched products,
of which each thread takes whole groups or whole runs. Gradients go straight into the update's sink, as the products are made, and
what the update makes of them stays in the cache. Each step works in the same places as the one before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shrinkwise.experiments.engine.build import EVALUATION_ROWS
from shrinkwise.experiments.engine.fleet.dense.chain import Dense
from shrinkwise.experiments.engine.fleet.dense.laidout import Layer, activate_, differentiate_, lay_out, run_layer_
from shrinkwise.experiments.engine.fleet.dense.places import Places
from shrinkwise.experiments.engine.fleet.dense.rows import joined
from shrinkwise.experiments.engine.fleet.dense.shared import Shared, abreast
from shrinkwise.experiments.engine.fleet.dense.silencing import Silencing
from shrinkwise.experiments.engine.fleet.groups import Chunk, Group
from shrinkwise.experiments.engine.fleet.stack import REST, Stack, State
from shrinkwise.experiments.engine.fleet.updates import Blocking, Update
from shrinkwise.experiments.engine.recipe import Recipe


class DensePasses:
    """Forward and backward passes of many dense chains at once.

    Args:
        recipe: How the runs are trained.
        chain: The layers.
        stack: The weights.
        groups: Runs that share a batch.
        silencing: The dropout of the hidden layers; None where there is none.
    """

    def __init__(
        self, recipe: Recipe, chain: Sequence[Dense], stack: Stack, groups: Sequence[Group], silencing: Silencing | None
    ) -> None:
        self.chain, self.task, self.n_outputs, self.threads = tuple(chain), recipe.task, recipe.n_outputs, recipe.threads
        self.stack, self.groups, self.silencing = stack, list(groups), silencing
        self._places = Places(groups[0].x)
        self._layers: dict[int, tuple[Update, list[Layer]]] = {}
        self._x: list[_Rows] = []
        self._wanted: list[Tensor] = []

    @property
    def blocking(self) -> Blocking:
        """How the weights are to be cut: each thread then makes the gradients of a few whole groups or runs of a block."""
        return Blocking(self.threads, abreast(self.groups, self.threads), has_one_sink=True)

    def begin(self, chunk: Chunk, first_step: int) -> None:
        """Take the batches of the steps that come next."""
        n_steps, n_runs, n_rows = chunk.y.shape
        self._n_rows = n_rows
        # A place of the feed's is filled again and again: its views are made once.
        held = self._places.kept.get(tuple(chunk.x.shape))
        if held is None or held[0] is not chunk.x:
            wanted = chunk.x.new_empty(n_steps, n_runs, self.n_outputs, n_rows)
            steps = [_Rows(x) for x in chunk.x.unbind(1)]
            held = self._places.kept[tuple(chunk.x.shape)] = (chunk.x, steps, wanted, list(wanted))
        _, self._x, wanted, self._wanted = held
        if self.task == "classification":
            torch.eq(chunk.y.unsqueeze(2), torch.arange(self.n_outputs, device=wanted.device).unsqueeze(1), out=wanted)
        else:
            wanted.copy_(chunk.y.unsqueeze(2))
        if self.silencing is not None:
            self.silencing.begin(first_step, n_rows, chunk.n_left)

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
        groups = joined(parts)
        _, n_rows, width = groups[0][0].shape
        first = self.chain[0].weight
        if (n_further := width - state[first].shape[2]) > 0:
            # These rows have something at inputs that are silent in training; they have them last.
            state = {**state, first: torch.cat([state[first], state[first + REST][:, :, :n_further]], dim=2)}
        found = groups[0][0].new_empty(sum(len(x) * n_runs for x, n_runs in groups), self.n_outputs, n_rows)
        for begin in range(0, n_rows, EVALUATION_ROWS):
            rows = [(x[:, begin : begin + EVALUATION_ROWS], n_runs) for x, n_runs in groups]
            found[:, :, begin : begin + EVALUATION_ROWS] = self._evaluated(state, rows)
        return found.transpose(1, 2)

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
            layers = lay_out(self.chain, self.stack.parameters, update, self.groups, self._n_rows, self.threads, self._places)
            for layer in layers:
                silencing = self.silencing if self.silencing and self.silencing.acts_on(layer.number) else None
                if silencing and not (layer.activation == "relu" and silencing.is_reversible(layer.number)):
                    layer.keep_active(self._places)
            held = self._layers[self._n_rows] = (update, layers)
        return held[1]

    def _forward(self, layers: Sequence[Layer], i: int) -> None:
        for layer in layers:
            if layer.number:
                before = layers[layer.number - 1]
                run_layer_(layer.weight, before.out, layer.bias, layer.out)
            else:
                for these, weight, bias, out in layer.parts:
                    run_layer_(weight, self._x[i].turned(these), bias, out)
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
            for these, sink, slope in pieces:
                torch.bmm(slope, rows.of(these), out=sink)
            update.move(layer.name, block)
        update.move_without_gradient(layer.name + REST)

    def _back_through(self, layer: Layer) -> None:
        """Take the gradient back through a hidden layer's dropout and activation, in place."""
        if self.silencing is not None:
            self.silencing.silence_slope_(layer.number, layer.slope)
        differentiate_(layer.slope, layer.active, layer.activation)

    def _evaluated(self, state: State, parts: Sequence[tuple[Tensor, int]]) -> Tensor:
        first, *others = (
            (state[layer.weight], None if layer.bias is None else state[layer.bias].unsqueeze(2), layer.activation)
            for layer in self.chain
        )
        n_rows = parts[0][0].shape[1]
        weight, bias, activation = first
        hidden = self._places("evaluated", 0, (*weight.shape[:2], n_rows))
        self._meet(weight, parts, hidden)
        if bias is not None:
            hidden.add_(bias)
        activate_(hidden, activation)
        for number, (weight, bias, activation) in enumerate(others, start=1):
            out = self._places("evaluated", number, (*weight.shape[:2], n_rows))
            run_layer_(weight, hidden, bias, out)
            activate_(out, activation)
            hidden = out
        return hidden

    def _meet(self, weight: Tensor, parts: Sequence[tuple[Tensor, int]], out: Tensor) -> None:
        """Multiply weights with rows: of several groups at once where there are as many as threads, which else share each."""
        begin = 0
        for x, n_runs in parts:
            for rows in [x] if len(x) >= self.threads else x.split(1):
                end = begin + len(rows) * n_runs
                left, product = (each[begin:end].view(len(rows), -1, each.shape[2]) for each in (weight, out))
                torch.bmm(left, rows.transpose(1, 2), out=product)
                begin = end


class _Rows:
    """The rows of one step, ``(group, row, feature)``, as the products take them; views are made once."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self._of: dict[Shared, Tensor] = {}
        self._turned: dict[Shared, Tensor] = {}

    def of(self, these: Shared) -> Tensor:
        """Return the rows that some runs share."""
        if these not in self._of:
            self._of[these] = these.rows(self._x)
        return self._of[these]

    def turned(self, these: Shared) -> Tensor:
        """Return them with rows last."""
        if these not in self._turned:
            self._turned[these] = self.of(these).transpose(1, 2)
        return self._turned[these]
