"""Experiments from Python: any module, optimiser and data set of tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import shrinkwise as sw
from shrinkwise.errors import DataError, ModelError, SettingError, ShrinkwiseError, UnitError
from shrinkwise.experiments.data import Dataset, choose_rows
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.records import Condition, Status
from small import fingerprints, small_experiment


def blobs(n: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    return torch.randn(n, 2, generator=generator) + 2.0 * y[:, None], y


def test_any_module_optimiser_and_tensors_make_an_experiment(tmp_path):
    def make_model(variant: sw.Variant) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(variant["dropout"]), nn.Linear(8, 3))

    experiment = sw.Experiment(
        model=make_model,
        data=blobs(),
        variants=sw.grid(l2=[0, 0.1], dropout=[0, 0.5]),
        conditions=sw.grid(label_noise=[0, 0.2]),
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-2),
        epochs=2,
        seeds=2,
    )
    result = experiment.run(tmp_path / "runs", jobs=1)
    assert result.study.decay == "decoupled"
    assert result.study.settings["optimizer"] == "AdamW"
    assert [layer.penalised for layer in result.study.layers] == [("weight",), (), ("weight",)]
    assert len(result.records) == 16
    assert all(record.status is Status.DONE for record in result.records)
    assert len(result.table()) == 8
    assert isinstance(result.verdict(), str)
    assert {figure.__class__.__name__ for figure in result.plot().values()} == {"Figure"}
    assert result.report(tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert "<table" in result._repr_html_()


def test_a_regression_is_judged_by_rmse_in_its_own_unit():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3)).astype(np.float32)
    y = 100 + 50 * x[:, 0] + generator.normal(size=200)
    result = sw.Experiment(
        model=MLPFactory(3, (16,), 1),
        data=(x, y),
        variants=grid(l2=[0, 1]),
        optimizer=NamedOptimizer("sgd", 0.05),
        epochs=30,
        seeds=2,
    ).run(jobs=1)
    assert result.study.primary_metric == "rmse"
    rmse = {row.variant["l2"]: row.metrics["rmse"].estimate.point for row in result.answer.rows}
    assert 1 < rmse[0] < 15, "in the unit of y, not in standard deviations"
    assert rmse[1] > rmse[0]


def test_selecting_the_best_validation_epoch_judges_other_weights():
    last, best = (
        small_experiment(select=select, optimizer=NamedOptimizer("sgd", 0.5), epochs=10, conditions=grid(label_noise=[0.4])).run(
            jobs=1
        )
        for select in ("last", "best-val")
    )
    assert fingerprints(last.records) == fingerprints(best.records), "the same runs"
    for result, name in ((last, "last"), (best, "best_val")):
        base = [getattr(record, name).test["loss"] for record in result.records if record.key.variant.is_base]
        assert result.answer.rows[0].metrics["loss"].estimate.point == pytest.approx(np.mean(base))
    assert last.answer.rows[0].metrics["loss"].estimate.point != best.answer.rows[0].metrics["loss"].estimate.point
    assert last.answer.early_stopped
    assert math.isfinite(last.answer.over_stopped_base[0].difference.point)


def test_an_interrupted_experiment_keeps_what_had_ended(tmp_path):
    def stop_after_three(n_done: int, n_all: int) -> None:
        if n_done == 3:
            raise KeyboardInterrupt

    for jobs in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            small_experiment().run(tmp_path / str(jobs), jobs=jobs, progress=stop_after_three)
        seen: list[int] = []
        result = small_experiment().run(tmp_path / str(jobs), jobs=1, progress=lambda n_done, _, seen=seen: seen.append(n_done))
        assert seen[0] == 3
        assert len(result.records) == 16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": grid(l2=[0, -1])}, "l2 is -1"),
        ({"variants": grid(l2=[0, float("nan")])}, "l2 is nan"),
        ({"variants": grid(dropout=[0, 1])}, "dropout is 1"),
        ({"variants": grid(l2=[0, 0])}, "stands twice"),
        ({"variants": grid(l2=[0])}, "at least two"),
        ({"conditions": [{"label_nose": 0.2}]}, "id you mean 'label_noise'"),
        ({"conditions": [{"train_size": 10**6}]}, "1000000 training rows"),
        ({"conditions": []}, "conditions are empty"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": [1, 1]}, "stands twice"),
        ({"epochs": 0}, "epochs is 0"),
        ({"metric": "acuracy"}, "id you mean 'accuracy'"),
        ({"select": "best"}, "id you mean 'best-val'"),
        ({"margin": -1}, "margin is -1"),
        ({"unit": "halve"}, "id you mean 'half'"),
        ({"apply_to": "weight"}, "id you mean 'weights'"),
        ({"data": 7}, "that is no data set"),
        ({"model": MLPFactory(64, (8,), 7)}, "need outputs of shape"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_said_before_anything_is_written(changes, said, tmp_path):
    with pytest.raises(ShrinkwiseError) as caught:
        small_experiment(**changes).run(tmp_path / "runs", jobs=1)
    assert said in str(caught.value)
    assert all((caught.value.fact, caught.value.cause, caught.value.mend))
    assert not (tmp_path / "runs").exists()


def two_outputs(variant: sw.Variant) -> nn.Module:
    return nn.Linear(64, 2 if variant["l2"] == 0 else 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": two_outputs, "variants": grid(l2=[0, 0.1])}, "(batch, 3)"),
        ({"variants": grid(L2=[0, 0.1])}, "'L2' of the variants is read by nobody"),
        ({"variants": grid(l2=[0, 0.1], weight_decay=[0, 10])}, "'weight_decay'"),
        ({"optimizer": lambda groups: torch.optim.Rprop(groups)}, "Rprop does not apply the weight_decay"),
        (
            {"optimizer": lambda groups: torch.optim.SGD([p for g in groups for p in g["params"]], lr=0.1)},
            "SGD does not apply the weight_decay",
        ),
        ({"base": {"l2": 7}}, "the base is l2=7"),
        ({"base": "l2=0.1"}, "a variant is a mapping"),
        ({"model": nn.Linear(64, 2)}, "every run makes its own"),
        ({"model": lambda variant: None}, "gives NoneType"),
        ({"optimizer": "sgd"}, "optimizer is a str"),
        ({"optimizer": lambda groups: None}, "gives NoneType"),
        ({"seeds": "3"}, "seeds is '3'"),
        ({"variants": [{"l2": 0, "norm": None}, {"l2": 1, "norm": None}]}, "a setting is a number, a word"),
        ({"task": "regression"}, "was read as classification"),
    ],
    ids=[
        "outputs",
        "unknown",
        "other name",
        "no decay",
        "groups ignored",
        "base",
        "base word",
        "instance",
        "nothing",
        "word",
        "no optimiser",
        "seeds",
        "none",
        "task",
    ],
)
def test_what_would_fail_later_or_do_nothing_is_refused_at_once(changes, said, tmp_path):
    with pytest.raises(ShrinkwiseError) as caught:
        small_experiment(**changes).run(tmp_path / "runs", jobs=1)
    assert said in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_sizes_that_differ_by_seed_are_checked_for_every_seed(tmp_path):
    """With groups of unequal size, one seed can hold fewer training rows than another."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 30, size=14)
    groups = np.repeat(np.arange(14), sizes)
    x = generator.normal(size=(len(groups), 4)).astype(np.float32)
    data = Dataset.from_arrays(x, np.arange(len(groups)) % 2, groups=groups)
    n_train = {seed: len(choose_rows(data, Condition(), seed)[0]) for seed in range(8)}
    most, fewest = max(n_train, key=n_train.__getitem__), min(n_train, key=n_train.__getitem__)
    assert n_train[fewest] < n_train[most], "else there is nothing to show"
    experiment = small_experiment(
        model=MLPFactory(4, (4,), 2), data=data, conditions=[{"train_size": n_train[most]}], seeds=[most, fewest]
    )
    with pytest.raises(DataError, match="training rows were asked for"):
        experiment.run(tmp_path / "runs", jobs=1)
    assert not (tmp_path / "runs").exists()


def test_without_a_plain_variant_the_first_is_the_base():
    result = small_experiment(variants=grid(l2=[0.01, 0.1])).run(jobs=1)
    assert result.answer.base["l2"] == 0.01
    named = small_experiment(variants=grid(l2=[0.01, 0.1]), base={"l2": 0.1}).run(jobs=1)
    assert named.answer.base["l2"] == 0.1


def test_a_failed_run_says_why(tmp_path):
    def breaks(variant: sw.Variant) -> nn.Module:
        return Broken() if variant["l2"] else MLPFactory(64, (8,), 2)(variant)

    result = small_experiment(model=breaks, variants=grid(l2=[0, 0.1])).run(jobs=1)
    assert {record.message for record in result.failures} == {"RuntimeError: out of order"}
    assert len(result.failures) == 4


class Broken(nn.Linear):
    def __init__(self) -> None:
        super().__init__(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise RuntimeError("out of order")
        return super().forward(x)


def test_each_mistake_is_also_the_exception_that_a_caller_expects():
    assert issubclass(SettingError, ValueError)
    assert issubclass(DataError, ValueError)
    assert issubclass(ModelError, TypeError)


def test_numbers_that_are_equal_name_one_variant():
    assert (
        small_experiment(variants=grid(l2=[0, np.float64(0.1)], dropout=[0.0])).variants
        == small_experiment(variants=grid(l2=[0.0, 0.1], dropout=[0])).variants
    )


def test_conditions_can_be_given_as_such():
    assert small_experiment(conditions=[Condition(train_size=20)]).conditions == (Condition(20, 0.0),)


@pytest.mark.slow
def test_mnist_under_label_noise_l2_helps_and_one_collapses(shared_data, tmp_path):
    """The classic experiment on real data: 2,000 images of 0-4, ten seeds, unit half."""
    from shrinkwise.experiments.spec import Spec

    spec = Spec.read(
        {
            "data": str(shared_data / "mnist"),
            "classes": "0-4",
            "train_size": 2000,
            "label_noise": "0,0.2",
            "epochs": 20,
            "seeds": 10,
        }
    )
    result = spec.experiment().run(tmp_path / "mnist")
    findings = {
        (c.condition.label_noise, c.variant["l2"]): c.finding.value for c in result.answer.comparisons if c.metric == "accuracy"
    }
    assert findings[0.2, 0.01] == "helps"
    assert findings[0.2, 1] == "hurts"
    assert "helps" not in {finding for (noise, _), finding in findings.items() if noise == 0}
    collapsed = {(row.condition.label_noise, row.variant["l2"]): row.collapsed for row in result.answer.rows}
    assert collapsed[0.2, 1] == 10
    assert collapsed[0.2, 0] == 0


@pytest.mark.parametrize("unit", ["adamw", "timescale", "independent"])
def test_a_unit_of_decoupled_decay_is_refused_before_anything_runs(unit):
    with pytest.raises(UnitError, match="Use convert"):
        small_experiment(unit=unit)


def test_a_unit_that_needs_the_batch_gets_it():
    experiment = small_experiment(unit="sklearn-mlp", variants=grid(l2=[0, 6.4]), epochs=1)
    lams = {record.lam for record in experiment.run(progress=False).records}
    assert lams == {0.0, 6.4 / experiment.recipe.batch_size}
