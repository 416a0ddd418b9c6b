"""The update, block by block: runs of unequal strengths in one block, blocks for one thread and for more, torch without kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import nn

from fleets import EXACT, OPTIMIZERS, differences, largest_difference, recipe, runs_of, train_networks, watched
from shrinkwise.errors import ShrinkwiseWarning
from shrinkwise.experiments.engine import Recipe
from shrinkwise.experiments.engine.fleet import descent, updates
from shrinkwise.experiments.engine.fleet.fleet import Run
from shrinkwise.experiments.records import RunKey, Variant

UNEQUAL = [Variant(l2=lam, dropout=rate) for lam, rate in ((0.0, 0.0), (0.1, 0.5), (0.01, 0.0), (0.1, 0.0), (0.5, 0.2))]
BYTES_OF_TWO = 2 * 64 * 16 * 8
"""Two runs' first weights in float64, where no input is silent."""
KERNELS = {"sgd with momentum": "_fused_sgd_", "nesterov": "_fused_sgd_", "adam": "_fused_adam_", "adamw": "_fused_adam_"}


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_runs", [5, 7])
@pytest.mark.parametrize("name", ["sgd with momentum", "decoupled sgd", "adam"])
def test_runs_of_unequal_strengths_share_a_block_of_any_number_of_threads(name, n_runs, n_threads, monkeypatch):
    fleets = watched(monkeypatch)
    monkeypatch.setattr(updates, "_BLOCK_BYTES", BYTES_OF_TWO)
    # The last runs are of another seed: a block may lie across both.
    runs = runs_of(UNEQUAL, noises=(0.0,))[:n_runs]
    assert max(differences(recipe(optimizer=OPTIMIZERS[name], threads=n_threads, epochs=4), runs)) < EXACT
    blocks = fleets[0].update.blocks["layers.0.weight"]
    size = min(n_runs, 2 * n_threads)
    assert [block.runs for block in blocks] == [(i, min(i + size, n_runs)) for i in range(0, n_runs, size)]
    strength = "share" if name == "decoupled sgd" else "lam"
    assert any(isinstance(getattr(block, strength), torch.Tensor) for block in blocks)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_blocks_are_cut_anew_when_a_run_leaves(n_threads, monkeypatch):
    fleets = watched(monkeypatch)
    monkeypatch.setattr(updates, "_BLOCK_BYTES", BYTES_OF_TWO)
    wild = Variant(l2=0.1, lr=1e300, dropout=0.0)
    runs = runs_of([*UNEQUAL[:2], wild, *UNEQUAL[2:]], seeds=(0,), noises=(0.0,))
    plan = recipe(threads=n_threads, epochs=4)
    alone = dict(_networks(plan, [run for run in runs if run[1].variant != wild], 1))
    found = dict(_networks(plan, runs))
    assert max(largest_difference(found[key], model) for key, model in alone.items()) < EXACT
    assert fleets[0].update.blocks["layers.0.weight"][-1].runs[1] == len(UNEQUAL)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Whether torch has a kernel is asked once and for all: ask anew, and forget what was found."""
    descent._is_there.cache_clear()
    yield
    descent._is_there.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", KERNELS)
def test_a_torch_without_a_kernel_gives_the_same_and_that_is_said_once(name, monkeypatch):
    runs = runs_of(UNEQUAL[:3], seeds=(0,), noises=(0.0,))
    plan = recipe(optimizer=OPTIMIZERS[name], epochs=10)
    fused = dict(_networks(plan, runs))
    monkeypatch.delattr(torch, KERNELS[name])
    descent._is_there.cache_clear()
    fleets = watched(monkeypatch)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        plain = [dict(_networks(plan, runs)) for _ in range(2)]
    assert [(each.category, KERNELS[name] in str(each.message)) for each in said] == [(ShrinkwiseWarning, True)]
    assert [fleet.update.fuses for fleet in fleets] == [False, False]
    for models in plain:
        assert max(largest_difference(models[key], model) for key, model in fused.items()) < EXACT


def _networks(plan: Recipe, runs: Sequence[Run], size: int | None = None) -> Iterator[tuple[RunKey, nn.Module]]:
    for model, record in train_networks(plan, runs, size):
        if model is not None:
            yield record.key, model
