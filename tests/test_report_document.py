import json
from dataclasses import replace

import numpy as np
import pytest

import report_samples as samples
from shrinkwise.experiments.records import Condition
from shrinkwise.experiments.report import to_document

EXPERIMENT = {
    "data", "task", "classes", "n_train", "n_val", "n_test", "unit", "decay", "seeds", "epochs", "runs", "seconds",
    "primary_metric",
}  # fmt: skip


@pytest.mark.parametrize("make", samples.SAMPLES.values(), ids=samples.SAMPLES.keys())
def test_document_holds_the_agreed_fields_and_no_nan(make):
    sample = make()
    document = json.loads(json.dumps(to_document(sample.answer, sample.study, 12.5), allow_nan=False))

    assert document["experiment"].keys() >= EXPERIMENT
    assert document["verdict"] == sample.answer.sentence
    for row in document["table"]:
        assert row.keys() >= {"variant", "condition", "settings", "n", "status", "collapsed", "metrics", "weight_norm"}
        assert row["condition"].keys() == {"train_size", "label_noise", "label"}
        assert row["status"].keys() >= {"done", "diverged", "failed"}
        assert all(metric.keys() >= {"point", "low", "high", "std"} for metric in row["metrics"].values())
    for comparison in document["comparisons"]:
        assert comparison.keys() >= {"variant", "against", "condition", "metric", "difference", "p", "p_adjusted", "verdict"}
        assert comparison["difference"].keys() >= {"point", "low", "high", "level"}
        assert comparison["verdict"] in {"helps", "hurts", "equivalent", "inconclusive"}


def test_document_counts_runs_and_seeds_that_diverged_too():
    sample = samples.classic()
    document = to_document(sample.answer, sample.study)

    assert document["experiment"]["runs"] == 160
    assert document["experiment"]["seeds"] == 10
    assert document["experiment"]["seconds"] is None
    row = next(row for row in document["table"] if row["variant"] == "l2=0.1 + dropout=0.5")
    assert (row["n"], row["status"]["done"], row["status"]["diverged"]) == (9, 9, 1)
    assert row["settings"] == {"l2": 0.1, "dropout": 0.5}


def test_document_of_one_seed_has_null_intervals():
    sample = samples.one_seed()
    document = to_document(sample.answer, sample.study)

    difference = document["comparisons"][0]["difference"]
    assert (difference["low"], difference["high"], difference["n"]) == (None, None, 1)
    assert document["table"][0]["metrics"]["accuracy"]["std"] is None


def test_document_takes_settings_of_any_kind():
    sample = samples.classic()
    settings = {"hidden": (np.int64(64), 32), "lr": np.float32(0.5), "nan": float("nan"), "model": object, "nested": {"a": [1]}}
    document = to_document(sample.answer, replace(sample.study, settings=settings))

    found = json.loads(json.dumps(document, allow_nan=False))["experiment"]["settings"]
    assert found["hidden"] == [64, 32]
    assert (found["lr"], found["nan"], found["nested"]) == (0.5, None, {"a": [1]})


def test_document_keeps_early_stopping_beside_the_agreed_fields():
    sample = samples.classic()
    stopped = to_document(sample.answer, sample.study)["early_stopping"]

    assert len(stopped["both_stopped"]) == len(stopped["base_stopped"]) == 14
    assert stopped["base_stopped"][0]["difference"]["point"] == sample.answer.over_stopped_base[0].difference.point


def test_document_tells_conditions_that_were_made_elsewhere_apart():
    sample = samples.classic()
    names = dict(zip(sample.answer.conditions, (Condition(label="task=cola"), Condition(label="task=rte")), strict=True))
    rows = tuple(replace(row, condition=names[row.condition]) for row in sample.answer.rows)
    compared = tuple(replace(each, condition=names[each.condition]) for each in sample.answer.comparisons)
    document = to_document(replace(sample.answer, rows=rows, comparisons=compared), sample.study)

    for part in ("table", "comparisons"):
        assert {each["condition"]["label"] for each in document[part]} == {"task=cola", "task=rte"}
