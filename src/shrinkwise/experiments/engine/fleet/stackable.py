"""Which runs can be part of a fleet, which of them of the same one, and what memory they take there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shrinkwise.experiments.data import Split
from shrinkwise.experiments.engine.build import EVALUATION_ROWS, predict
from shrinkwise.experiments.engine.fleet.dense.chain import Dense, chain_of
from shrinkwise.experiments.engine.fleet.modules.structure import same_structure, trained_names
from shrinkwise.experiments.engine.fleet.rules import Reading, read_optimizer
from shrinkwise.experiments.engine.live import LiveRun, prepare
from shrinkwise.experiments.engine.recipe import Recipe
from shrinkwise.experiments.engine.threads import limited_threads
from shrinkwise.experiments.records import RunKey


@dataclass(frozen=True, eq=False)
class Stackable:
    """A run that can be part of a fleet.

    Attributes:
        live: The run.
        reading: What its optimiser does.
        trained: Names of the parameters that get a gradient.
        chain: Its layers, where it is a chain of dense layers.
    """

    live: LiveRun
    reading: Reading
    trained: tuple[str, ...]
    chain: tuple[Dense, ...] | None

    def fits(self, other: Stackable) -> bool:
        """Whether both can be part of one fleet."""
        mine, its = self.live, other.live
        shapes = [(x.shape, x.dtype) for x in (mine.x, mine.x_val)], [(x.shape, x.dtype) for x in (its.x, its.x_val)]
        return (
            shapes[0] == shapes[1]
            and len(mine.split.y_test) == len(its.split.y_test)
            and self.reading.rule == other.reading.rule
            and (self.trained, self.chain) == (other.trained, other.chain)
            and same_structure(mine.model, its.model)
        )


def stackable(recipe: Recipe, live: LiveRun) -> Stackable | str:
    """Read a run, or say why it can be part of no fleet."""
    reading = read_optimizer(live)
    if isinstance(reading, str):
        return reading
    if live.bound is not None and any(term.penalty.is_constraint for term in live.bound.terms):
        return "max_norm projects each run's weights by themselves"
    left_out = [name for name, parameter in live.model.named_parameters() if parameter.requires_grad and name not in reading.hands]
    if left_out:
        return f"the optimiser does not hold {left_out[0]}"
    chain = chain_of(live.model)
    if chain is not None and live.model.get_parameter(chain[-1].weight).shape[0] == recipe.n_outputs:
        return Stackable(live, reading, tuple(name for name, _ in live.model.named_parameters()), chain)
    trained = trained_names(recipe, live)
    return trained if isinstance(trained, str) else Stackable(live, reading, trained, None)


@dataclass(frozen=True)
class Needs:
    """What a run needs in a fleet.

    Attributes:
        alone: Why it can be part of none; empty where it can.
        n_bytes: Memory that it takes there, about: weights in all their copies, activations, outputs on its rows.
        is_traced: Whether its passes have to be traced first, which takes half a second.
    """

    alone: str
    n_bytes: int
    is_traced: bool


def needs(recipe: Recipe, split: Split, key: RunKey) -> Needs:
    """Look at one run as a member of a fleet."""
    with limited_threads(1):
        live = prepare(recipe, split, key)
        found = stackable(recipe, live)
        n_bytes = _bytes(recipe, live)
    if isinstance(found, str):
        return Needs(found, n_bytes, is_traced=False)
    return Needs("", n_bytes, is_traced=found.chain is None)


def _bytes(recipe: Recipe, live: LiveRun) -> int:
    weights = sum(tensor.nbytes for tensor in live.model.state_dict().values() if isinstance(tensor, Tensor))
    sizes: list[int] = []
    handles = [
        module.register_forward_hook(lambda _module, _args, out: sizes.append(out.nbytes if isinstance(out, Tensor) else 0))
        for module in live.model.modules()
    ]
    n_rows = min(len(live.x), recipe.batch_size)
    predict(recipe, live.model, live.x[:n_rows])
    for handle in handles:
        handle.remove()
    # The network itself, the stack, its best, the optimiser's own, and what the comparison of the first step holds for a moment.
    copies = 7 if isinstance(live.optimizer, torch.optim.SGD) else 9
    outputs = 4 * (len(live.y) + 2 * len(live.y_val)) * recipe.n_outputs * live.x.element_size()
    # The passes hold an activation about four times.
    return copies * weights + outputs + sum(sizes) * (4 + EVALUATION_ROWS // max(1, n_rows))
