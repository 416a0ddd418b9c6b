"""The verdict on runs that were made elsewhere is the verdict that ``compare`` gives on the same runs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data import Dataset, cut, digits
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.records import Condition
from shrinkwise.experiments.verdict import guess_direction, verdict
from shrinkwise.seeding import isolated_rng, torch_generator
from small import small_experiment


def numbers(result, metric, condition=0):
    """What a verdict comes to on its primary metric, apart from the names of variants."""
    answer = result.answer
    return [
        (c.difference.point, c.difference.low, c.difference.high, c.p, c.p_adjusted, c.share_won, c.finding, c.differences)
        for c in answer.comparisons
        if c.metric == metric and c.condition == answer.conditions[condition]
    ]


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        assert left[6] == right[6]
        for a, b in zip((*left[:6], *left[7]), (*right[:6], *right[7]), strict=True):
            assert (a is None and b is None) or a == pytest.approx(b, abs=1e-12)


def test_runs_of_compare_read_back_give_the_same_numbers(tmp_path):
    result = small_experiment(seeds=9, variants=grid(l2=[0, 0.1, 1])).run(jobs=1)
    result.runs().to_csv(tmp_path / "runs.csv", index=False)
    read = verdict(
        tmp_path / "runs.csv",
        vary="l2",
        metric="accuracy",
        within="label_noise",
        examples="accuracy_rows",
        test_rows="test_rows",
    )
    for condition in (0, 1):
        assert_same(numbers(result, "accuracy", condition), numbers(read, "accuracy", condition))


def plain_loop(split, l2, seed):
    """Train as anybody would by hand, and return whether each test row is right."""
    with isolated_rng("weights", seed):
        model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": l2}, {"params": biases, "weight_decay": 0.0}], lr=0.05, momentum=0.9
    )
    x, y = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train)
    for epoch in range(1, 4):
        for rows in torch.randperm(len(y), generator=torch_generator("order", seed, epoch)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return (model(torch.from_numpy(split.x_test)).argmax(1) == torch.from_numpy(split.y_test)).numpy()


def test_a_plain_pytorch_loops_csv_gives_the_numbers_of_compare(tmp_path):
    whole = digits("0-1")
    data = Dataset.from_arrays(whole.x[:200], whole.y[:200], test=(whole.x[200:], whole.y[200:]))
    compared = Experiment(
        model=lambda variant: nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)),
        data=data,
        variants=grid(l2=[0, 0.03, 1]),
        optimizer=NamedOptimizer("sgd", lr=0.05),
        epochs=3,
        seeds=8,
    ).run(jobs=1)
    rows = []
    for seed in range(8):
        split = cut(data, Condition(), seed)
        for l2 in (0, 0.03, 1):
            right = plain_loop(split, l2, seed)
            rows.append({"weight_decay": l2, "seed": seed, "accuracy": right.mean(), "right": "".join(map(str, right.astype(int)))})
    pd.DataFrame(rows).to_csv(tmp_path / "loop.csv", index=False)
    judged = verdict(tmp_path / "loop.csv", vary="weight_decay", metric="accuracy", examples="right")
    assert_same(numbers(compared, "accuracy"), numbers(judged, "accuracy"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_runs_give_the_same_numbers_from_csv_jsonl_and_frame(tmp_path):
    """Scikit-learn's runs, as a table of any tool and as the measurements that compare hands to the statistics."""
    from sklearn.neural_network import MLPClassifier

    from shrinkwise.experiments.records import Status, Variant
    from shrinkwise.experiments.result import Result
    from shrinkwise.experiments.stats import Measurement

    data = digits("0-2")
    rows, measurements, test_rows = [], [], {}
    for seed in range(8):
        split = cut(data, Condition(label_noise=0.3), seed)
        test_rows[seed] = split.test_rows
        for alpha in (0.0, 3.0):
            model = MLPClassifier((8,), alpha=alpha, max_iter=15, random_state=seed).fit(split.x_train, split.y_train)
            right = (model.predict(split.x_test) == split.y_test).astype(np.float64)
            text = {"right": "".join(str(int(r)) for r in right), "rows": " ".join(map(str, split.test_rows))}
            rows.append({"alpha": alpha, "seed": seed, "accuracy": right.mean(), **text})
            measurements.append(
                Measurement(
                    variant=Variant(l2=alpha),
                    condition=Condition(),
                    seed=seed,
                    status=Status.DONE,
                    collapsed=False,
                    metrics={"accuracy": right.mean()},
                    examples={"accuracy": right},
                    n_train=len(split.y_train),
                    n_test=len(split.y_test),
                    weight_norm=float("nan"),
                )
            )
    study = small_experiment(data=data, model=lambda v: nn.Linear(64, 3), variants=grid(l2=[0, 3])).study
    as_compare = Result(study=study, measurements=tuple(measurements), test_rows=test_rows)
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "runs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for runs in (tmp_path / "runs.csv", tmp_path / "runs.jsonl", frame):
        judged = verdict(runs, vary="alpha", metric="accuracy", examples="right", test_rows="rows")
        assert_same(numbers(as_compare, "accuracy"), numbers(judged, "accuracy"))


@pytest.mark.parametrize(("metric", "more"), [("eval_loss", False), ("val/acc", True), ("test F1", True), ("perplexity", False)])
def test_the_direction_of_well_known_names_is_guessed(metric, more):
    assert guess_direction(metric) is more


@pytest.mark.parametrize("metric", ["score", "quality", "accuracy_loss"])
def test_the_direction_of_other_names_is_asked_for(metric):
    with pytest.raises(SettingError, match="--minimize or --maximize"):
        guess_direction(metric)


def runs(**changes):
    columns = {"wd": [0, 0.1] * 8, "seed": np.repeat(range(8), 2), "eval_loss": np.linspace(1, 2, 16) + np.tile([0.5, 0], 8)}
    return pd.DataFrame(columns | changes)


def test_a_direction_that_is_given_turns_the_finding():
    findings = [
        verdict(runs(quality=runs().eval_loss), vary="wd", metric="quality", maximize=maximize).answer.comparisons[0].finding
        for maximize in (True, False)
    ]
    assert findings == ["hurts", "helps"]


def test_a_named_base_is_the_base():
    result = verdict(runs(), vary="wd", metric="eval_loss", base=0.1)
    assert result.answer.base["wd"] == 0.1
    assert result.answer.comparisons[0].finding == "hurts"


@pytest.mark.parametrize("metric", ["acc", "accuracy"])
def test_rates_in_per_cent_are_told_as_shares(metric):
    accuracy = 90 + np.tile([0.0, 0.1], 8) + np.repeat(np.linspace(0, 0.01, 8), 2)
    result = verdict(runs(**{metric: accuracy}), vary="wd", metric=metric)
    (comparison,) = result.answer.comparisons
    assert comparison.finding == "equivalent"
    assert comparison.difference.point == pytest.approx(0.001)
    assert "per cent" in result.study.settings["read as"]


def test_an_r2_below_minus_one_is_no_per_cent():
    result = verdict(runs(r2=np.r_[-3.0, np.linspace(0.5, 0.6, 15)]), vary="wd", metric="r2")
    assert result.study.margin == 0.005
    assert result.answer.rows[0].metrics["r2"].estimate.point < 0.5


@pytest.mark.parametrize(("word", "n"), [("crashed", 7), ("running", 7), ("finished", 8), ("success", 8)])
def test_the_words_of_other_tools_for_a_runs_end_are_known(word, n):
    result = verdict(runs(status=["done"] * 15 + [word]), vary="wd", metric="eval_loss")
    assert result.answer.comparisons[0].difference.n == n


def test_runs_of_compare_with_one_that_diverged_read_back_as_a_frame():
    result = small_experiment(seeds=9, variants=grid(l2=[0, 1e6]), optimizer=NamedOptimizer("sgd", 5.0), conditions=[{}]).run(
        jobs=1
    )
    assert "diverged" in set(result.runs().status)
    read = verdict(result.runs(), vary="l2", metric="accuracy", examples="accuracy_rows", test_rows="test_rows")
    assert [row.n for row in read.answer.rows] == [row.n for row in result.answer.rows]


def test_conditions_of_any_name_are_kept_apart():
    table = pd.concat([runs(dataset="a"), runs(dataset="b")])
    result = verdict(table, vary="wd", metric="eval_loss", within="dataset")
    assert [condition.name for condition in result.answer.conditions] == ["dataset=a", "dataset=b"]


def test_a_table_that_compare_wrote_is_known_by_its_columns(tmp_path):
    for metric in ("accuracy", "auc"):
        result = small_experiment(seeds=9, variants=grid(l2=[0, 0.1]), conditions=[{"label_noise": 0.3}], metric=metric).run(jobs=1)
        result.runs().to_csv(tmp_path / "runs.csv", index=False)
        assert_same(numbers(result, metric), numbers(verdict(tmp_path / "runs.csv", vary="l2", metric=metric), metric))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"n_train": "seed"}, "n_train is given alone"),
        ({"acc": [0.9] * 15 + [91.0]}, {"metric": "acc"}, "some in per cent"),
        ({"acc": [0.9] * 15 + [900.0]}, {"metric": "acc"}, "it is a rate"),
        ({"acc": [0.9] * 16, "rows": ["0101"] * 16}, {"metric": "acc", "examples": "rows"}, "the mean of its test rows"),
        ({"eval_loss": ["much"] * 16}, {}, "row 1 has 'much'"),
    ],
    ids=["size alone", "mixed", "too large", "other rows", "words"],
)
def test_a_table_that_contradicts_itself_is_refused(change, options, said):
    with pytest.raises((DataError, SettingError)) as caught:
        verdict(runs(**change), **{"vary": "wd", "metric": "eval_loss"} | options)
    assert said in str(caught.value)


def test_nothing_is_called_base_that_is_not_the_base():
    result = verdict(runs(), vary="wd", metric="eval_loss", base=0.1)
    assert [row.variant.name for row in result.answer.rows] == ["wd=0", "wd=0.1"]
    assert "the base, wd=0.1" in result.verdict()


def test_two_columns_of_one_name_are_refused():
    table = pd.concat([runs(), runs()[["wd"]]], axis=1)
    with pytest.raises(DataError, match="two columns 'wd'"):
        verdict(table, vary="wd", metric="eval_loss")


@pytest.mark.parametrize("form", ["list", "json", "semicolons"])
def test_a_table_may_be_a_list_a_json_array_or_have_semicolons(form, tmp_path):
    table = runs()
    if form == "list":
        given = table.to_dict("records")
    elif form == "json":
        given = tmp_path / "runs.json"
        given.write_text(table.to_json(orient="records", double_precision=15))
    else:
        given = tmp_path / "runs.csv"
        table.to_csv(given, index=False, sep=";")
    assert_same(
        numbers(verdict(table, vary="wd", metric="eval_loss"), "eval_loss"),
        numbers(verdict(given, vary="wd", metric="eval_loss"), "eval_loss"),
    )


def test_runs_that_diverged_are_dropped_pair_by_pair():
    table = runs(status=["done"] * 15 + ["diverged"])
    result = verdict(table, vary="wd", metric="eval_loss")
    assert result.answer.comparisons[0].difference.n == 7


def test_a_value_that_is_missing_is_said_with_its_row():
    with pytest.raises(DataError, match="row 3 has nan in column 'eval_loss'"):
        verdict(runs(eval_loss=[1.0, 1.0, np.nan, *[1.0] * 13]), vary="wd", metric="eval_loss")


def test_runs_that_are_not_told_apart_need_no_condition_in_the_sentence():
    assert verdict(runs(), vary="wd", metric="eval_loss").verdict().startswith("wd=0.1 ")
