"""The report of a choice: JSON, page, terminal, figure and CSV, on choices made by hand."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console

import choice_samples as samples
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.report import choice_document, choice_page, curve_csv, plot_choice, show_choice
from shrinkwise.experiments.report.choosing.charts import curve_charts
from shrinkwise.experiments.report.choosing.path import path_charts
from shrinkwise.experiments.report.choosing.view import axis_range, choice_view, lam_axis, lam_of, shown
from shrinkwise.experiments.report.choosing.words import facts, sentence
from shrinkwise.experiments.selection.choice import Cost
from shrinkwise.experiments.selection.layers import VerifiedStep
from shrinkwise.experiments.stats.answer import Estimate, Finding
from shrinkwise.experiments.stats.two_models import TwoModels
from test_report_page import BROWSER, FLAGS, Dom, charts_of

SECTIONS = ("The curve", "Other settings", "The path", "Confirmed on fresh seeds?", "How many parameters", "Which layer wants more")
SEEN = {
    "search": {"The curve", "The path", "Confirmed on fresh seeds?", "How many parameters", "Which layer wants more"},
    "kept": {"The curve", "The path"},
    "one seed": {"The curve", "The path"},
    "joint": {"The curve", "Other settings", "The path"},
    "accuracy": {"The curve", "The path"},
    "function": {"The curve", "The path", "How many parameters"},
    "prior": set(),
}


def make(name):
    sample = samples.SAMPLES[name]()
    return sample, choice_page(sample.choice, sample.study, **sample.beside)


def in_words(html):
    return " ".join(Dom(html).text.split())


# ---- the page


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_page_is_whole_and_fetches_nothing(name):
    sample, html = make(name)
    dom = Dom(html)
    text = in_words(html)
    assert sentence(sample.choice, sample.beside.get("confirmation")) in text
    assert sample.choice.reason in text
    assert all(note in text for note in sample.choice.notes)
    assert not [address for address in dom.fetched if not address.startswith("data:")]
    assert "url(" not in dom.styles
    places = {attributes.get("id") for tag, attributes, _ in dom.found if tag == "div"}
    assert {chart["id"] for chart in charts_of(html)} <= places
    assert {section for section in SECTIONS if section in text} == SEEN[name]
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes, _ in dom.found if tag == "th")


def test_page_is_the_same_bytes_again_and_knows_no_nan():
    for name in samples.SAMPLES:
        html = make(name)[1]
        assert html == make(name)[1]
        assert not re.search(r"\bnan\b", Dom(html).text, re.IGNORECASE)
        assert "NaN" not in json.dumps(charts_of(html))


def test_page_escapes_what_users_named():
    html = make("function")[1]
    assert samples.EVIL not in html
    assert "alert(" in Dom(html).text
    labels = json.dumps(
        [chart["layout"] for chart in charts_of(html)] + [trace["text"] for trace in charts_of(html)[0]["traces"][2:]]
    )
    assert "&lt;script&gt;" in labels
    assert "<script>" not in labels


def test_page_tells_the_path_round_by_round():
    sample, html = make("search")
    text = in_words(html)
    for step in sample.choice.path:
        assert step.why in text
        for variant, seed in step.runs:
            lam = f"{variant['l2']:.3g}"
            assert re.search(rf"{re.escape(lam)} \(seeds? [\d, ]*\b{seed}\b", text), (lam, seed)


def test_page_says_what_it_cost_and_what_ended_badly():
    text = in_words(make("search")[1])
    assert "32 (4 a seed, 8 seeds; 1 diverged, 1 collapsed, 1 failed)" in text
    assert "518,400" in text
    assert "that collapsed or diverged or failed" in text


def test_page_shows_the_confirmation_with_its_price():
    sample = samples.search()
    text = in_words(choice_page(sample.choice, sample.study, **sample.beside, prices={"confirmation": Cost(8, 16, 0, 75.0)}))
    assert sample.beside["confirmation"].answer.sentence in text
    assert "equivalent on 10 fresh seeds" in text
    assert "(16 trainings, 1 min 15 s, on top)" in text


VERIFIED = (
    replace(samples.SENSITIVITIES[0], verified=VerifiedStep("layers.0.weight", 2.0, -0.0123, 0.002, 2)),
    samples.SENSITIVITIES[1],
)
BY_LAYER = tuple(replace(layer, chosen=layer.lam and 0.5 * layer.lam) for layer in samples.LAYERS)
PRICES = {"layers": Cost(2, 2, 0, 75.0), "verification": Cost(2, 4, 0, 30.0)}


def test_strengths_by_layer_verified_advice_and_their_prices_are_shown_everywhere():
    sample = samples.Sample(samples.searched(), samples.STUDY, {"layers": BY_LAYER, "sensitivities": VERIFIED, "prices": PRICES})
    page = in_words(choice_page(sample.choice, sample.study, **sample.beside))
    terminal = " ".join(printed(sample, 140).split())
    for said in (page, terminal):
        assert "twice its λ: loss −0.012 ± 0.002" in said
        assert "one step, trained again" in said
        assert "of the choice" in said
        assert re.search(r"0\.021 ?0\.0105", said)
        assert "(2 trainings, 1 min 15 s, of the budget)" in said
        assert "(4 trainings, 30.0 s, on top)" in said
    document = choice_document(sample.choice, sample.study, **sample.beside)
    assert [layer["chosen"] for layer in document["layers"]] == [0.0105, 0.00215, None]
    assert document["sensitivities"][0]["verified"] == {
        "factor": 2.0,
        "change": -0.0123,
        "error": 0.002,
        "n": 2,
        "is_borne_out": True,
    }
    assert document["sensitivities"][1]["verified"] is None
    assert (document["layers_cost"]["trainings"], document["verification_cost"]["trainings"]) == (2, 4)
    assert document["confirmation_cost"] is None
    plain = in_words(make("search")[1])
    assert "trained again" not in plain
    assert "λ of the choice" not in plain


def test_page_labels_two_models_as_such():
    two = TwoModels("accuracy", Estimate(0.02, 0.005, 0.035, 0.95, 360, "paired t over test rows"))
    sample = samples.kept()
    text = in_words(choice_page(sample.choice, sample.study, two_models=two))
    assert "These two models only: the choice has 2.0 points more accuracy than the default" in text
    assert "not of other seeds" in text


@pytest.mark.parametrize(
    ("changes", "chip"),
    [({"keeps_default": True}, "the default is kept"), ({"at_boundary": True}, "at the end of the range"), ({}, "")],
)
def test_page_marks_what_a_reader_must_not_miss(changes, chip):
    choice = replace(samples.searched(), **changes)
    html = choice_page(choice, samples.STUDY)
    chips = [attributes for _, attributes, _ in Dom(html).found if "chip" in (attributes.get("class") or "").split()]
    assert len(chips) == bool(chip)
    assert chip in in_words(html)


@pytest.mark.skipif(BROWSER is None, reason="neither chromium nor chrome is on PATH")
@pytest.mark.parametrize("name", ["search", "joint"])
def test_page_draws_every_chart_in_a_browser(name, tmp_path):
    _, html = make(name)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    dom = Dom(done.stdout.decode())
    charts = [chart["id"] for chart in charts_of(html)]
    assert {id_: dom.inside(id_, "trace") > 0 for id_ in charts} == dict.fromkeys(charts, True)
    assert not [address for address in dom.fetched if re.match(r"(https?:)?//", address)]


# ---- the charts


@pytest.mark.parametrize("name", [name for name in samples.SAMPLES if name != "prior"])
def test_every_run_is_a_point_of_the_curve(name):
    """Good runs at their values, the others at the edge; those at other settings are in a chart of their own."""
    view = choice_view(samples.SAMPLES[name]().choice)
    measured = curve_charts(view)[0]
    points = [
        (x, y) for trace in measured.traces if "markers" in trace["mode"] for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    assert len(points) == len(view.runs)
    low, high = view.visible
    for run in view.runs:
        place, value = view.axis.place(lam_of(view.choice, run.variant)), shown(view.choice, run.loss)
        near = [y for x, y in points if x == pytest.approx(place, abs=1e-4)]
        assert near
        if not view.is_off(run, value):
            assert any(y == pytest.approx(value, rel=1e-4) for y in near)
    assert all(low <= y <= high for _, y in points)


def test_collapsed_and_diverged_runs_are_marked_apart():
    choice = samples.searched()
    # One that learned nothing may have a loss in the midst of the others.
    runs = tuple(replace(run, loss=0.2) if run.is_collapsed else run for run in choice.runs)
    view = choice_view(replace(choice, runs=runs))
    crosses = [trace for trace in curve_charts(view)[0].traces if "x-thin-open" in str(trace.get("marker", {}).get("symbol"))]
    told = " ".join(text for trace in crosses for text in trace["text"])
    assert {word: told.count(word) for word in ("collapsed", "diverged", "failed")} == {"collapsed": 1, "diverged": 1, "failed": 1}


@pytest.mark.parametrize("name", ["search", "accuracy"])
def test_without_what_a_seed_adds_points_lie_nearer_to_the_curve(name):
    view = choice_view(samples.SAMPLES[name]().choice)
    gaps = view.levelled()
    good = [run for run in view.runs if not run.is_bad]

    def off(value):
        return sum(abs(value(run) - view.expected(lam_of(view.choice, run.variant))) for run in good)

    assert off(lambda run: view.level(run, gaps)) < 0.5 * off(lambda run: shown(view.choice, run.loss))


def test_no_penalty_stands_at_a_labelled_place_left_of_the_axis():
    choice = samples.searched()
    axis = lam_axis(choice)
    least = min(point.lam for point in choice.curve if point.lam > 0)
    assert axis.ticks[0] == (axis.place(0.0), "0")
    assert axis.place(0.0) < axis.break_at < axis.place(least)
    without = replace(choice, curve=choice.curve[1:], runs=choice.runs[8:], path=choice.path[1:])
    assert lam_axis(without).break_at is None
    assert "0" not in [label for _, label in lam_axis(without).ticks]


def test_the_interval_the_choice_and_the_default_are_marked():
    choice = samples.searched()
    view = choice_view(choice)
    layout = curve_charts(view)[0].layout
    rect, *lines = layout["shapes"]
    assert (rect["x0"], rect["x1"]) == (view.axis.place(choice.low), view.axis.place(choice.high))
    assert [line["x0"] for line in lines] == [view.axis.place(choice.lam), view.axis.place(choice.default)]
    words = [note["text"] for note in layout["annotations"]]
    assert {"<b>chosen 0.0178</b>", "<b>default 0.001</b>"} < set(words)
    kept = samples.kept()
    words = [note["text"] for note in curve_charts(choice_view(kept.choice))[0].layout["annotations"]]
    assert [word for word in words if "//" not in word] == ["<b>kept 0</b>"]


def test_the_chart_shows_the_weak_side_whole():
    view = choice_view(samples.searched())
    low, high = view.visible
    assert all(low < value < high for lam, value in zip(view.curve.lams, view.curve.values, strict=True) if lam <= view.choice.lam)
    assert max(view.curve.values) > high, "what is far worse does not squash it"


def test_the_path_has_a_line_a_round_with_every_run_on_it():
    view = choice_view(samples.searched())
    (chart,) = path_charts(view)
    seeds = [trace for trace in chart.traces if trace["mode"] == "markers" and not trace["marker"]["symbol"].endswith("open")]
    drawn = sorted((round(y), x) for trace in seeds for x, y in zip(trace["x"], trace["y"], strict=True))
    wanted = sorted(
        (number, view.axis.place(variant["l2"])) for number, step in enumerate(view.choice.path, 1) for variant, _ in step.runs
    )
    assert [row for row, _ in drawn] == [row for row, _ in wanted]
    assert [x for _, x in drawn] == pytest.approx([x for _, x in wanted], abs=1e-4)
    left, right = axis_range(view)
    assert all(left <= x <= right for _, x in drawn)


def test_joint_settings_have_a_curve_each():
    html = make("joint")[1]
    (chart,) = [chart for chart in charts_of(html) if chart["id"] == "others"]
    lines = [trace for trace in chart["traces"] if trace["mode"] == "lines" and "fill" not in trace]
    assert [trace["text"][0].split("<br>")[0] for trace in lines] == ["lr = 0.05", "lr = 0.15", "lr = 0.5"]
    least = [trace["x"][trace["y"].index(min(trace["y"]))] for trace in lines]
    assert least == sorted(least, reverse=True), "the best λ falls as the rate rises"
    assert "lr = 0.05 (chosen)" in Dom(html).text


# ---- JSON and CSV


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_document_is_json_with_the_promised_fields(name):
    sample = samples.SAMPLES[name]()
    document = json.loads(json.dumps(choice_document(sample.choice, sample.study, **sample.beside), allow_nan=False))
    assert document["choice"].keys() >= {"lam", "unit", "low", "high", "reason", "at_boundary"}
    assert document["cost"].keys() >= {"seeds", "trainings", "trainings_per_seed", "sample_gradients", "seconds"}
    assert all(point.keys() == {"lam", "loss", "low", "high"} for point in document["curve"])
    assert len(document["curve"]) == len(sample.choice.curve)
    assert len(document["runs"]) == len(sample.choice.runs)
    assert document["experiment"]["data"] == sample.study.data
    assert (document["confirmation"] is None) == ("confirmation" not in sample.beside)


def test_document_speaks_in_the_metrics_own_sign():
    document = choice_document(samples.accuracy().choice, samples.STUDY)
    assert all(0 < point["low"] <= point["loss"] <= point["high"] <= 1 for point in document["curve"][:30])
    assert document["choice"]["is_higher_better"]
    best = max(document["curve"], key=lambda point: point["loss"])
    assert best["lam"] == pytest.approx(0.0178)


def test_curve_csv_is_the_curve_in_full():
    choice = samples.searched()
    rows = list(csv.DictReader(io.StringIO(curve_csv(choice))))
    assert list(rows[0]) == ["lam", "loss", "low", "high"]
    assert [(float(row["lam"]), float(row["loss"])) for row in rows] == [(point.lam, point.loss) for point in choice.curve]
    joint = list(csv.DictReader(io.StringIO(curve_csv(samples.joint().choice))))
    assert list(joint[0]) == ["lr", "lam", "loss", "low", "high"]
    assert {row["lr"] for row in joint} == {"0.05", "0.15", "0.5"}


# ---- terminal and figure


def printed(sample, width=100):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_choice(sample.choice, sample.study, **sample.beside, console=console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", samples.SAMPLES)
@pytest.mark.parametrize("width", [80, 120])
def test_terminal_says_it_all_within_its_width(name, width):
    sample = samples.SAMPLES[name]()
    text = printed(sample, width)
    assert max(map(len, text.splitlines())) <= width
    assert sentence(sample.choice, sample.beside.get("confirmation")).split("; ")[0] in " ".join(text.split())
    assert sample.choice.path == () or f"{len(sample.choice.path)} " in text
    for line in sample.beside.get("layers", ()):
        assert line.name[:20] in text


def test_terminal_marks_choice_and_default():
    lines = printed(samples.search()).splitlines()
    (chosen,) = [line for line in lines if "← chosen" in line]
    (default,) = [line for line in lines if "← default" in line]
    assert chosen.split()[0] == "0.0178"
    assert default.split()[0] == "0.001"
    (kept,) = [line for line in printed(samples.kept()).splitlines() if "← default, kept" in line]
    assert kept.split()[0] == "0"


def test_terminal_counts_every_run_near_some_strength():
    lines = printed(samples.search()).splitlines()
    begin = next(place for place, line in enumerate(lines) if "runs near" in line) + 2
    rows = list(lines[begin : lines.index("", begin)])
    n_near = [int(found.group(1)) for line in rows if (found := re.match(r"\s*\S+\s+\S+\s+\S+ to \S+\s+(\d+)\s", line))]
    assert sum(n_near) == 32


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_figure_saves(name, tmp_path):
    sample = samples.SAMPLES[name]()
    figure = plot_choice(sample.choice, sample.study)
    figure.savefig(tmp_path / "a.png", dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 500
    assert len(figure.axes) == (0 if name == "prior" else 2)


def test_figure_shows_every_run_and_both_marks():
    view = choice_view(samples.searched())
    upper, lower = plot_choice(view.choice, samples.STUDY).axes
    xs = [x for line in upper.lines if line.get_linestyle() == "None" for x in line.get_xdata()]
    drawn = [run for run in view.runs if run.is_bad or not view.is_off(run, shown(view.choice, run.loss))]
    assert sorted(xs) == pytest.approx(sorted(view.axis.position(run.variant) for run in drawn))
    marks = [line.get_label() for line in upper.lines if not line.get_label().startswith("_")]
    assert marks == ["expected over seeds, 95 % band", "chosen 0.0178", "default 0.001"]
    assert next(label.get_text() for label in lower.get_xticklabels()) == "0"


# ---- words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Take l2 = 0.0178; 90 % interval of the best: 0.0056 to 0.056."),
        ({"keeps_default": True, "lam": 0.01}, "Keep l2 = 0.01; 90 % interval of the best: 0.0056 to 0.056."),
        ({"low": 0.0}, "Take l2 = 0.0178; 90 % interval of the best: 0 to 0.056."),
        ({"low": 0.0, "high": 0.0, "lam": 0.0}, "Take l2 = 0; 90 % interval of the best: no penalty."),
        (
            {"curves": ((Variant(lr=0.1), ()),), "variant": Variant(l2=0.0178, dropout=0, lr=0.1)},
            "Take l2 = 0.0178 with lr = 0.1; 90 % interval of the best: 0.0056 to 0.056.",
        ),
    ],
)
def test_the_sentence(changes, said):
    assert sentence(replace(samples.searched(), **changes)) == said


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (Finding.HELPS, "Take l2 = 0.0178; 90 % interval of the best: 0.0056 to 0.056."),
        (Finding.HURTS, "Best on validation rows is l2 = 0.0178, which hurts on 10 fresh seeds; 90 %"),
        (Finding.EQUIVALENT, "which is equivalent to the default on 10 fresh seeds; 90 %"),
        (Finding.INCONCLUSIVE, "which is not confirmed on 10 fresh seeds; 90 %"),
        (None, "which could not be compared with the default on fresh seeds; 90 %"),
    ],
)
def test_the_sentence_does_not_contradict_the_confirmation(finding, said):
    made = samples.confirmation()
    found = tuple(replace(each, finding=finding) for each in made.answer.comparisons) if finding else ()
    confirmation = replace(made, answer=replace(made.answer, comparisons=found))
    assert said in sentence(samples.searched(), confirmation)
    assert said in in_words(choice_page(samples.searched(), samples.STUDY, confirmation=confirmation))


def test_a_metric_of_a_long_name_leaves_the_numbers_their_room():
    choice = replace(samples.searched(), metric="cross_validated_negative_log_likelihood_of_the_words")
    text = printed(samples.Sample(choice, samples.STUDY, {}), 80)
    rows = [line for line in text.splitlines() if "▇" in line]
    assert rows
    assert not any("…" in line for line in text.splitlines())
    assert "chosen" in text


def test_facts_leave_out_what_is_unknown():
    names = [name for name, _ in facts(samples.function().choice, samples.function().study)]
    assert "sample-gradients" not in names
    assert "train / validation / test rows" not in names
    assert dict(facts(samples.prior().choice, samples.STUDY))["trainings"] == "none"
