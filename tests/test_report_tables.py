import io
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import report_samples as samples
from shrinkwise.experiments.records import Condition
from shrinkwise.experiments.report import csv, frame, markdown, show
from shrinkwise.experiments.report.formats import Scale, scale_of


def printed(sample, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    show(sample.answer, sample.study, console)
    return console.file.getvalue()


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_difference_text_reads_back_with_its_sign(value, decimals):
    written = Scale("loss", 1.0, "", "", decimals).difference(value)

    assert math.isclose(float(written.replace("−", "-")), value, abs_tol=0.51 * 10**-decimals)
    assert written.startswith(("+", "−")) or not float(written)


def test_zero_difference_has_no_sign():
    scale = Scale("accuracy", 100.0, "%", "points", 2)
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
