"""The single loop: it does what a plain loop does, it hangs on the seed alone, and it says what went wrong."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shrinkwise.errors import ModelError, SettingError
from shrinkwise.experiments.data import Split, cut, digits
from shrinkwise.experiments.engine import NamedOptimizer, Recipe, train_one
from shrinkwise.experiments.engine.metrics import constant_loss, summary
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant
from shrinkwise.regularization.apply import Regularizer
from shrinkwise.seeding import isolated_rng, torch_generator

SPLIT = cut(digits("0-2"), Condition(), seed=5)
BASE = Variant(l2=0.0)
RECIPE = Recipe(
    model=MLPFactory(64, (16,), 3),
    task="classification",
    n_outputs=3,
    optimizer=NamedOptimizer("sgd", 0.05),
    epochs=3,
    batch_size=32,
)


def run(variant: Variant = BASE, recipe: Recipe = RECIPE, split: Split = SPLIT, seed: int = 5) -> Record:
    return train_one(recipe, split, RunKey(variant, Condition(), seed))


def plain_loop(l2: float = 0.0, dtype: torch.dtype = torch.float32, part: str = "test") -> np.ndarray:
    """Train as anybody would by hand, penalty in the loss, and return the data loss of each row of a part."""
    with isolated_rng("weights", 5):
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    model.to(dtype)
    bound = Regularizer(l2=l2).bind(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = torch.from_numpy(SPLIT.x_train).to(dtype), torch.from_numpy(SPLIT.y_train)
    for epoch in range(1, 4):
        for rows in torch.randperm(len(y), generator=torch_generator("order", 5, epoch)).split(32):
            optimizer.zero_grad()
            (F.cross_entropy(model(x[rows]), y[rows], reduction="none").mean() + bound.penalty()).backward()
            optimizer.step()
    with torch.no_grad():
        outputs = model(torch.from_numpy(getattr(SPLIT, f"x_{part}")).to(dtype))
        return F.cross_entropy(outputs, torch.from_numpy(getattr(SPLIT, f"y_{part}")), reduction="none").numpy()


def last_losses(record: Record) -> np.ndarray:
    assert record.last is not None
    return record.last.examples["loss"]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_lambda_zero_is_the_plain_loop_to_the_last_bit():
    assert np.array_equal(last_losses(run()), plain_loop())


def test_dropout_zero_is_no_dropout_to_the_last_bit():
    assert np.array_equal(last_losses(run(Variant(l2=0.0, dropout=0.0))), plain_loop())


def test_coupled_decay_is_the_penalty_in_the_loss():
    with_decay, in_loss = last_losses(run(Variant(l2=0.1))), plain_loop(0.1)
    assert np.allclose(with_decay, in_loss, atol=1e-5)
    assert not np.allclose(with_decay, plain_loop(), atol=1e-2)


@pytest.mark.parametrize(("unit", "l2"), [("half", 0.1), ("sum", 0.05), ("per_sample", 0.1 * len(SPLIT.y_train))])
def test_one_penalty_in_three_units_is_one_run(unit, l2):
    record = run(Variant(l2=l2), replace(RECIPE, unit=unit))
    assert record.lam == pytest.approx(0.1)
    assert np.allclose(last_losses(record), last_losses(run(Variant(l2=0.1))), atol=1e-5)


def test_all_penalises_biases_too():
    some, everything = run(Variant(l2=0.3)), run(Variant(l2=0.3), replace(RECIPE, apply_to="all"))
    assert not np.allclose(last_losses(some), last_losses(everything), atol=1e-5)


def test_decoupled_sgd_without_momentum_is_coupled():
    losses = [
        last_losses(run(Variant(l2=0.1), replace(RECIPE, optimizer=NamedOptimizer("sgd", 0.05, momentum=0.0, decay=decay))))
        for decay in ("coupled", "decoupled")
    ]
    assert np.allclose(*losses, atol=1e-5)


def test_adam_coupled_is_not_adamw():
    coupled, decoupled, adamw = (
        last_losses(run(Variant(l2=0.1), replace(RECIPE, optimizer=NamedOptimizer(name, 1e-2, decay=decay))))
        for name, decay in (("adam", "coupled"), ("adam", "decoupled"), ("adamw", "decoupled"))
    )
    assert np.array_equal(decoupled, adamw)
    assert np.abs(coupled - decoupled).max() > 0.01


def test_adamw_cannot_be_coupled():
    with pytest.raises(SettingError, match="AdamW is Adam with decoupled decay"):
        NamedOptimizer("adamw", 1e-3, decay="coupled")


def test_same_seed_gives_the_same_record_whatever_the_global_state():
    first = run(Variant(l2=0.01, dropout=0.5))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  the point is that it does not matter
    torch.rand(7)
    assert run(Variant(l2=0.01, dropout=0.5)).fingerprint() == first.fingerprint()


def test_other_seed_gives_another_record():
    assert run(seed=6).fingerprint() != run(seed=5).fingerprint()


def test_training_leaves_global_state_and_threads_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run(recipe=replace(RECIPE, threads=2))
    assert torch.get_num_threads() == 1
    assert torch.equal(torch.rand(4), expected)


def test_variants_of_a_seed_start_from_the_same_weights():
    starts = [
        {n: v[0] for n, v in run(variant).weight_norms.items()} for variant in (Variant(l2=0.0), Variant(l2=1.0, dropout=0.5))
    ]
    assert starts[0] == starts[1]


def test_a_users_own_dropout_hangs_on_the_seed_too():
    def model(variant: Variant) -> nn.Module:
        return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    recipe = replace(RECIPE, model=model)
    first = run(recipe=recipe)
    torch.manual_seed(1)
    assert run(recipe=recipe).fingerprint() == first.fingerprint()


def test_best_val_is_the_epoch_of_least_validation_loss():
    record = run(recipe=replace(RECIPE, epochs=12, optimizer=NamedOptimizer("sgd", 0.5)))
    assert record.best_val is not None
    curve = record.curves["val_loss"]
    assert record.best_val.epoch == int(np.argmin(curve)) + 1
    assert record.best_val.val["loss"] == pytest.approx(min(curve))
    assert record.last is not None
    assert record.last.val["loss"] == pytest.approx(curve[-1])


def test_curves_have_a_point_an_epoch_and_norms_one_more():
    record = run()
    assert {len(values) for values in record.curves.values()} == {3}
    assert {len(values) for values in record.weight_norms.values()} == {4}


def test_a_large_penalty_collapses_and_a_small_one_does_not():
    assert run(Variant(l2=1.0), replace(RECIPE, epochs=20)).collapsed
    assert not run(Variant(l2=0.0), replace(RECIPE, epochs=20)).collapsed


def test_a_run_that_leaves_the_finite_numbers_is_diverged():
    record = run(recipe=replace(RECIPE, optimizer=NamedOptimizer("sgd", 1e6)), variant=Variant(l2=1e3))
    assert record.status is Status.DIVERGED
    assert record.last is None
    assert "finite" in record.message
    assert not record.collapsed


def test_a_last_row_that_would_stand_alone_joins_the_batch_before():
    """A batch norm cannot be trained on one row; 65 rows in batches of 32 leave one over."""

    def model(variant: Variant) -> nn.Module:
        return nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    split = cut(digits("0-2"), Condition(train_size=65), seed=5)
    assert run(recipe=replace(RECIPE, model=model), split=split).status is Status.DONE


def test_a_model_that_draws_from_pythons_own_generator_hangs_on_the_seed():
    def model(variant: Variant) -> nn.Module:
        network = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
        nn.init.constant_(network[0].bias, random.random())
        return network

    recipe = replace(RECIPE, model=model)
    first = run(recipe=recipe)
    random.seed(1)
    assert run(recipe=recipe).fingerprint() == first.fingerprint()


def test_outputs_that_do_not_fit_are_said_in_one_message():
    with pytest.raises(ModelError, match=r"\(batch, 4\).*these data need outputs of shape \(batch, 3\)"):
        run(recipe=replace(RECIPE, model=MLPFactory(64, (16,), 4)))


def test_the_best_constant_predictor_is_the_entropy_of_the_labels():
    targets = torch.tensor([0, 0, 1, 2])
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]])).expand(4, 3)
    assert constant_loss("classification", targets) == pytest.approx(float(F.cross_entropy(logits, targets)))


def test_metrics_agree_with_scikit_learn():
    from sklearn import metrics as sk

    rng = np.random.default_rng(0)
    logits, targets = torch.from_numpy(rng.normal(size=(50, 3))), torch.from_numpy(rng.integers(3, size=50))
    found, shares = summary("classification", logits, targets), logits.softmax(1).numpy()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, logits.argmax(1)))
    assert found["loss"] == pytest.approx(sk.log_loss(targets, shares))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(targets, shares, multi_class="ovr"))
    outputs, wanted = torch.from_numpy(rng.normal(size=(50, 1))), torch.from_numpy(rng.normal(size=50))
    found = summary("regression", outputs, wanted, y_scale=3.0)
    assert found["rmse"] == pytest.approx(3 * sk.root_mean_squared_error(wanted, outputs[:, 0]))
    assert found["r2"] == pytest.approx(sk.r2_score(wanted, outputs[:, 0]))


def test_auc_is_left_out_where_a_class_has_no_row():
    found = summary("classification", torch.zeros(4, 3), torch.tensor([0, 0, 1, 1]))
    assert "auc" not in found
    assert math.isfinite(found["f1"])


def test_trap_12_curves_hold_the_data_loss_and_the_best_epoch_is_chosen_by_it():
    """A validation loss with the penalty in it would favour the epoch of the smallest weights."""
    record = run(Variant(l2=0.3))
    for part in ("train", "val"):
        assert record.curves[f"{part}_loss"][-1] == pytest.approx(plain_loop(0.3, part=part).mean(), rel=1e-4)
    assert record.best_val is not None
    assert record.best_val.epoch == 1 + int(np.argmin(record.curves["val_loss"]))


@pytest.mark.parametrize("has_accelerator", [False, True])
def test_what_a_model_draws_hangs_on_the_name_alone_with_another_device_and_without(has_accelerator, monkeypatch):
    asked: list[int] = []
    seed_all = torch.manual_seed
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_accelerator)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: (asked.append(seed), seed_all(seed)))
    before = torch.get_rng_state()
    with isolated_rng("weights", 3):
        drawn = torch.rand(4)
    assert torch.equal(drawn, torch.rand(4, generator=torch_generator("weights", 3)))
    assert torch.equal(torch.get_rng_state(), before)
    # Only that reaches the generators of other devices.
    assert len(asked) == has_accelerator
