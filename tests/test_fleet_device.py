"""What can be known of the fleet on another device where there is none: torch's meta device, which has shapes and no numbers.

Whatever were left on the CPU could not meet what is on the device, and whatever asked for a number in the middle of an epoch, which
on a GPU waits for all that was launched before, would find none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fleets import runs_of
from shrinkwise.experiments.engine import NamedOptimizer, Recipe
from shrinkwise.experiments.engine.fleet import fleet as fleets
from shrinkwise.experiments.engine.fleet.stackable import Stackable, stackable
from shrinkwise.experiments.engine.live import prepare
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Variant
from shrinkwise.regularization.strength import schedules

VARIANTS = [Variant(l2=0.1, dropout=0.5), Variant(l1=1e-3, dropout=0.0, lr=0.01), Variant(l2_sp=0.1, group_lasso=1e-3, dropout=0.2)]
OPTIMIZERS = {"sgd": NamedOptimizer("sgd", 0.05), "adamw": NamedOptimizer("adam", 1e-3, decay="decoupled")}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("model", [MLPFactory(64, (16, 12), 5), MLPFactory(64, (16,), 5, 2, 1, "full")], ids=["masked", "full"])
def test_an_epoch_stays_on_the_device_and_asks_it_nothing(model: Callable[[Variant], nn.Module], name: str) -> None:
    recipe = Recipe(
        model,
        "classification",
        5,
        OPTIMIZERS[name],
        2,
        64,
        device="meta",
        schedule=schedules.Cosine(4),
        lr_schedule=schedules.WarmUp(2),
    )
    fleet, groups = _fleet(recipe)
    with torch.no_grad():
        fleet._train_epoch()
        outputs = fleet.passes.outputs(fleet.stack.state, [(group.x_val, group.n_runs) for group in groups])
    tensors = [outputs, *fleet.stack.parameters.values(), *fleet.update.sink.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_gpu_gets_one_call_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which inputs are silent is a question about numbers.
    monkeypatch.setattr(fleets, "told_apart", lambda weight, groups: None)

    def updated(device: str) -> Any:
        wide = Recipe(MLPFactory(64, (4000,), 5), "classification", 5, OPTIMIZERS["sgd"], 2, 64, device=device)
        return _fleet(wide, [Variant(l2=lam) for lam in (0.0, 0.1)])[0].update

    assert len(updated("meta").blocks["layers.0.weight"]) == 1
    assert len(updated("cpu").blocks["layers.0.weight"]) > 1


def _fleet(recipe: Recipe, variants: Sequence[Variant] = VARIANTS) -> tuple[Any, list[Any]]:
    found = [stackable(recipe, prepare(recipe, *run)) for run in runs_of(variants, noises=(0.0,), dtype=np.float32)]
    members = [each for each in found if isinstance(each, Stackable)]
    assert len(members) == 2 * len(variants)
    groups = [fleets._group([each.live for each in part]) for part in (members[: len(variants)], members[len(variants) :])]
    return fleets._fleet(recipe, members, groups, started=0.0), groups
