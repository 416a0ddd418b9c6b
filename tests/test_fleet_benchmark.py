"""The fleet's benchmark: everybody does the same work, a difference is seen, and ratios are taken within rounds."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shrinkwise.experiments.models import MLPFactory
from shrinkwise.regularization.rules import Role, place

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    compare, contestants, workloads, dataloader, ensembling, indexed, jax_program, ours, table = (
        importlib.import_module(f"fleet.{name}")
        for name in (
            "compare",
            "contestants",
            "workloads",
            "peers.dataloader",
            "peers.ensembling",
            "peers.indexed",
            "peers.jax_program",
            "peers.ours",
            "table",
        )
    )
finally:
    sys.path.remove(str(BENCHMARKS))

FINAL = compare.FINAL
DENSE = workloads.Size("8", "dense", workloads.digits, MLPFactory(64, (8,), 5), 6, (8,))
WORK = workloads.Workload(DENSE, 8, 2)


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference():
    return indexed.train(WORK, "1")


def row(outcomes, name, seconds=1.0, round_=0):
    """Return what a process would have printed of outcomes."""
    last = [[value[-1] if isinstance(value, tuple) else value for value in asdict(each).values()] for each in outcomes]
    runs = [[dict(zip(asdict(outcomes[0]), run, strict=True))[field] for field in FINAL] for run in last]
    return {
        "size": "8",
        "n_runs": len(runs),
        "round": round_,
        "contestant": name,
        "seconds": seconds,
        "steps": 10,
        "runs": runs,
    }


@pytest.mark.parametrize(
    ("peer", "mode"),
    [
        (dataloader, "1"),
        (ensembling, "1"),
        (jax_program, "concat-vmap-map"),
        (jax_program, "stacked-map-vmap"),
        (SimpleNamespace(train=functools.partial(ours.train, jobs=1), __name__="ours"), "single"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_everybody_trains_the_same_runs(peer, mode, reference):
    runs = {(run.l2, run.dropout, run.seed): run for run in peer.train(WORK, mode)}
    assert len(runs) == len(reference) == WORK.n_runs
    for wanted in reference:
        run = runs[wanted.l2, wanted.dropout, wanted.seed]
        assert len(run.train_loss) == len(run.val_loss) == len(run.val_accuracy) == DENSE.epochs
        if not wanted.dropout:
            for name in ("train_loss", "val_loss", "test_loss"):
                np.testing.assert_allclose(getattr(run, name), getattr(wanted, name), rtol=1e-4, err_msg=name)
            # Rounding may turn one row of 180.
            for name in ("val_accuracy", "test_accuracy"):
                np.testing.assert_allclose(getattr(run, name), getattr(wanted, name), atol=0.006, err_msg=name)
    dropped = [run for run in runs.values() if run.dropout]
    mine = [run for run in reference if run.dropout]
    assert np.mean([run.test_loss for run in dropped]) == pytest.approx(np.mean([run.test_loss for run in mine]), rel=0.1)
    plain = [run.train_loss[-1] for run in reference if not run.dropout]
    assert np.mean([run.train_loss[-1] for run in dropped]) > np.mean(plain) + 0.02


@pytest.mark.parametrize("name", ["conv", "transformer"])
def test_jax_and_torch_write_the_same_network(name):
    jax = pytest.importorskip("jax")
    kind = {"conv": (1, 28, 28), "transformer": (28, 28)}[name]
    model = workloads.SIZES[name].factory({})
    layouts = {"conv": ["conv", "patches"], "transformer": ["stacked"]}[name]
    networks = importlib.import_module("fleet.peers.jax_networks")
    x = torch.randn(4, *kind, generator=torch.Generator().manual_seed(0))
    wanted = {False: model.eval()(x).detach().numpy(), True: model.train()(x).detach().numpy()}
    trained = {key: value.numpy() for key, value in model.named_buffers() if value.ndim}
    for layout in layouts:
        fresh = networks.network(name, layout, "vmap", workloads.SIZES[name].factory({}))
        start = networks.network(name, layout, "vmap", model)
        stats = fresh.arrange(fresh.stats, 2)
        for is_training, logits in wanted.items():
            key = jax.random.key(0) if is_training else None
            got, new = start.logits(start.arrange(start.params, 2), stats, jax.numpy.asarray(x.numpy()), jax.numpy.zeros(2), key)
            np.testing.assert_allclose(got, np.stack([logits, logits]), atol=2e-5)
        for key, value in trained.items():
            np.testing.assert_allclose(new[key], np.stack([value, value]), atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", workloads.SIZES)
def test_peers_penalise_what_shrinkwise_does(name):
    model = workloads.SIZES[name].factory({})
    penalised = {each.name for each in place(model) if each.role is Role.WEIGHT}
    assert penalised == {key for key, value in model.named_parameters() if workloads.is_penalised(key, value)}


def test_an_outcome_that_differs_is_said(reference):
    ours_row = row(reference, "shrinkwise:auto")
    assert compare.differences(ours_row, row(reference, "indexed:1")) == ()
    worse = [replace(run, test_loss=run.test_loss * (1 if run.dropout else 1.05)) for run in reference]
    [said] = compare.differences(ours_row, row(worse, "indexed:1"))
    assert said.startswith("test loss")
    assert said.endswith("(without dropout)")
    assert compare.differences(ours_row, row(worse, "keras-jax:jax")) == ()
    alone = [run for run in reference if run.dropout]
    assert (
        compare.differences(row(alone, "shrinkwise:auto"), row([run for run in reference if not run.dropout], "indexed:1")) is None
    )
    lost = [replace(run, val_accuracy=(math.nan,)) for run in reference]
    assert len(compare.differences(ours_row, row(lost, "keras-jax:jax"))) == 2


def test_ratios_are_taken_within_rounds_and_of_the_best_mode(reference):
    seconds = {"shrinkwise:auto": (1.0, 4.0, 9.0), "indexed:1": (4.0, 8.0, 36.0), "indexed:2": (2.0, 8.0, 90.0)}
    rows = [row(reference, name, s, k) for name, times in seconds.items() for k, s in enumerate(times)]
    found = {each.peer: each for each in compare.compared(rows)}
    assert (found["indexed"].mode, found["indexed"].ratio, found["indexed"].low, found["indexed"].high) == ("1", 0.25, 0.25, 0.5)
    assert found["indexed"].us_per_step == pytest.approx(8e6 / 160)
    assert "| 0.25 [0.25, 0.50] (75%) | 3 | agree |" in table.table(found.values())


def test_the_interval_of_a_median_covers_what_it_says():
    values = np.random.default_rng(0).lognormal(size=(4000, 9))
    intervals = np.array([compare.median_interval(sample) for sample in values])
    assert intervals[0, 3] >= 0.95
    assert np.mean((intervals[:, 1] <= 1) & (intervals[:, 2] >= 1)) == pytest.approx(intervals[0, 3], abs=0.01)


def test_every_peer_of_every_size_has_its_file():
    for contestant in contestants.CONTESTANTS:
        assert (BENCHMARKS / "fleet" / "peers" / f"{contestant.module}.py").exists()
    assert len({(each.name, each.kinds) for each in contestants.CONTESTANTS}) == len(contestants.CONTESTANTS)
