import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import report_samples as samples
from shrinkwise.experiments.records import Condition, RunKey, Variant
from shrinkwise.experiments.report import csv, frame, markdown, runs_frame, show
from shrinkwise.experiments.report.formats import Scale, scale_of
from shrinkwise.experiments.report.words import margin_words
from shrinkwise.experiments.stats.metric import METRICS
from shrinkwise.experiments.stats.words import amount


def printed(sample, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    show(sample.answer, sample.study, console)
    return console.file.getvalue()


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_difference_text_reads_back_with_its_sign(value, decimals):
    written = Scale("loss", decimals).difference(value)

    assert math.isclose(float(written.replace("−", "-")), value, abs_tol=0.51 * 10**-decimals)
    assert written.startswith(("+", "−")) or not float(written)


@pytest.mark.parametrize("name", [*METRICS, "bleu"])
def test_sentence_table_and_margin_tell_a_metric_in_the_same_unit(name):
    told = amount(name, 0.005, 0.01)
    is_in_points = told.endswith(" points")
    scale = Scale(name, 3)
    assert scale.difference(0.005) == ("+0.500" if is_in_points else "+0.005")
    assert (scale.unit, scale.difference_unit) == (("%", "points") if is_in_points else ("", ""))
    margin = margin_words(replace(samples.STUDY, primary_metric=name, margin=0.005, is_margin_relative=False))
    assert margin == (f"0.5 points of {name}" if is_in_points else f"0.005 of {name}")
    assert float(told.split()[0]) == float(margin.split()[0])


def test_zero_difference_has_no_sign():
    scale = Scale("accuracy", 2)
    assert {scale.difference(value) for value in (0.0, -0.0, 1e-9, -1e-9)} == {"0.00"}


def test_decimals_follow_the_spread_of_the_metric():
    sample = samples.regression()
    assert scale_of(sample.answer, "rmse").decimals == 2
    assert scale_of(sample.answer, "r2").decimals == 3
    assert scale_of(samples.one_seed().answer, "loss").decimals == 4


def test_frame_has_a_row_for_each_condition_and_variant():
    sample = samples.classic()
    table = frame(sample.answer, sample.study)

    assert len(table) == 16
    line = table.set_index(["label_noise", "variant"]).loc[(0.2, "l2=0.01")]
    comparison = next(each for each in sample.answer.comparisons if each.condition.label_noise and each.variant["l2"] == 0.01)
    assert line["accuracy_difference"] == comparison.difference.point
    assert (line["l2"], line["dropout"], line["finding"], line["done"]) == (0.01, 0.0, "helps", 10)
    base = table[table.variant == "base"]
    assert base.finding.isna().all()
    assert base.accuracy_difference.isna().all()


def test_frame_keeps_a_setting_whose_name_is_a_column():
    sample = samples.single_condition()
    variants = {old: type(old)(loss=old["l2"], n=old["dropout"]) for old in samples.VARIANTS}
    rows = tuple(type(row)(**{**vars(row), "variant": variants[row.variant]}) for row in sample.answer.rows)
    table = frame(type(sample.answer)(**{**vars(sample.answer), "rows": rows}), sample.study)

    assert set(table.setting_loss) == {0.0, 0.01, 0.1, 1.0}
    assert set(table.n) == {9, 10}


def renamed(record, **settings):
    return replace(record, key=RunKey(Variant(**settings), record.key.condition, record.key.seed))


def test_runs_keep_settings_whose_names_are_columns():
    # First comes the run that diverged, which has no column of metrics of its own.
    records = sorted(samples.single_condition().records, key=lambda record: record.last is not None)
    table = runs_frame([renamed(record, lam=7.0, accuracy="high", train_size=3, l2=0.5) for record in records], samples.STUDY)

    assert set(table.setting_lam) == {7.0}
    assert set(table.setting_accuracy) == {"high"}
    assert set(table.setting_train_size) == {3}
    assert set(table.l2) == {0.5}
    assert table.lam.tolist() == [record.lam for record in records]
    assert table.accuracy.dropna().tolist() == [record.last.test["accuracy"] for record in records if record.last]


def test_runs_are_told_at_the_judged_epoch():
    record = next(record for record in samples.classic().records if record.best_val and record.best_val.epoch < 30)
    row = runs_frame([record], replace(samples.STUDY, select="best-val")).iloc[0]

    assert row.accuracy == record.best_val.test["accuracy"]
    assert row.weight_norm == pytest.approx(
        np.linalg.norm([norms[record.best_val.epoch] for norms in record.weight_norms.values()])
    )
    assert row.weight_norm != record.weight_norm()


def test_runs_have_the_rows_of_rmse():
    record = samples.regression().records[0]
    losses = np.array([0.5, 1.5])
    record = replace(record, last=replace(record.last, examples={"loss": losses}))
    row = runs_frame([record], replace(samples.STUDY, primary_metric="rmse")).iloc[0]
    assert np.mean([float(word) for word in row.rmse_rows.split()]) == pytest.approx(row.rmse)


def test_csv_reads_back_as_the_frame():
    sample = samples.foreign()
    again = pd.read_csv(io.StringIO(csv(sample.answer, sample.study)))

    assert list(again.columns) == list(frame(sample.answer, sample.study).columns)
    assert again.eval_loss.tolist() == frame(sample.answer, sample.study).eval_loss.tolist()


def test_markdown_has_the_cells_of_the_article():
    sample = samples.classic()
    text = markdown(sample.answer, sample.study)

    assert text.startswith("**Under 20 % label noise")
    assert "| l2=0.01 | 92.87 ± 1.37 (+5.03) | 0.1252 ± 0.0034 (−0.0717) |" in text
    assert "10 done, 10 collapsed" in text
    assert "- Equal epochs handicap dropout" in text


@pytest.mark.parametrize("make", samples.SAMPLES.values(), ids=samples.SAMPLES.keys())
def test_markdown_tables_are_whole(make):
    sample = make()
    rows = [line for line in markdown(sample.answer, sample.study).splitlines() if line.startswith("|")]

    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert len(widths) == 1
    assert len(rows) == 2 * len(sample.answer.conditions) + len(sample.answer.rows)
    assert "nan" not in "".join(rows).lower()


def test_markdown_escapes_what_users_named():
    sample = samples.foreign()
    text = markdown(sample.answer, sample.study)

    assert "<script>" not in text.replace("\\<", "")
    assert "a\\|b \\[bold\\]" in text


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("make", samples.SAMPLES.values(), ids=samples.SAMPLES.keys())
def test_terminal_says_the_verdict_first_and_fits(make, width):
    sample = make()
    lines = printed(sample, width).splitlines()

    assert max(map(len, lines)) <= width
    first = " ".join(" ".join(lines[:4]).split())
    assert first.startswith(sample.answer.sentence[:60])
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [80, 100])
def test_terminal_never_breaks_a_number(width):
    text = printed(samples.classic(), width)

    for cell in (
        "92.87 ± 1.37",
        "[+4.60, +5.46]",
        "0.1252 ± 0.0034",
        "[−74.36, −71.69]",
        "10 collapsed",
        "1 diverged",
        "p < 0.001",
    ):
        assert cell in text


def test_terminal_says_findings_without_colour():
    text = printed(samples.classic(), 100)
    assert {"▲ helps", "▼ hurts", "= equivalent"} <= {found for found in ("▲ helps", "▼ hurts", "= equivalent") if found in text}
    assert Condition(label_noise=0.2).name in text


def test_terminal_shows_a_users_markup_as_text():
    assert "[bold]" in printed(samples.foreign(), 100)
