import math
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

import report_samples as samples
from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.report import curves, differences, gains, network, strengths
from shrinkwise.experiments.report.axis import groups, strength_axis
from shrinkwise.experiments.report.styles import PALETTE, variant_styles
from shrinkwise.experiments.study import Layer


def all_charts(sample):
    answer, study = sample.answer, sample.study
    charts = [
        *strengths.strength_charts(answer, study),
        *differences.difference_charts(answer, study),
        *gains.condition_charts(answer, study),
        *gains.stopping_charts(answer, study),
    ]
    if done := curves.done_runs(answer, sample.records):
        charts += [*curves.learning_charts(answer, done), *curves.norm_charts(answer, study, done)]
    return charts


def with_variants(*variants):
    return replace(samples.classic().answer, variants=variants, base=variants[0])


@pytest.mark.parametrize("make", samples.SAMPLES.values(), ids=samples.SAMPLES.keys())
def test_charts_are_what_plotly_knows(make):
    charts = all_charts(make())

    assert len({chart.id for chart in charts}) == len(charts) > 1
    for chart in charts:
        for traces in (chart.traces, *chart.choices.values()):
            go.Figure(data=list(traces), layout=strip_marks(chart.layout))
        assert len(chart.alt) > 20


def strip_marks(layout):
    """Colours that only the page knows are named, not given."""
    notes = [{name: value for name, value in note.items() if name != "bgcolor"} for note in layout.get("annotations", [])]
    return {**layout, "annotations": notes}


def test_axis_sets_zero_apart_from_the_logarithm():
    axis = strength_axis(samples.classic().answer, samples.STUDY)

    assert axis.is_log
    assert [label for _, label in axis.ticks] == ["0", "0.01", "0.1", "1"]
    assert axis.ticks[0][0] < axis.break_at < math.log10(0.01)
    assert axis.position(Variant(l2=0.0, dropout=0.5)) == axis.ticks[0][0]
    assert axis.position(Variant(l2=0.1, dropout=0.0)) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("variants", "setting", "is_log"),
    [
        ([Variant(l2=0.0), Variant(l2=0.01)], "l2", False),
        ([Variant(dropout=0.0), Variant(dropout=0.2), Variant(dropout=0.5)], "dropout", False),
        ([Variant(l2=0.001), Variant(l2=1.0)], "l2", True),
        ([Variant(dropout=0.0, l2=0.0), Variant(dropout=0.5, l2=0.1)], "l2", False),
        ([Variant(shift=-1.0), Variant(shift=1.0)], None, None),
        ([Variant(optimizer="adam"), Variant(optimizer="sgd")], None, None),
        ([Variant(nesterov=False), Variant(nesterov=True)], None, None),
    ],
)
def test_axis_is_chosen_by_what_varies(variants, setting, is_log):
    axis = strength_axis(with_variants(*variants), samples.STUDY)
    assert (axis and axis.setting, axis and axis.is_log) == (setting, is_log)


def test_axis_labels_stay_few():
    variants = [Variant(l2=float(value)) for value in np.logspace(-6, 1, 36)]
    axis = strength_axis(with_variants(Variant(l2=0.0), *variants), samples.STUDY)
    assert len(axis.ticks) <= 10
    assert axis.ticks[1][1] == "1e-06"


def test_groups_are_named_by_what_differs():
    answer = samples.classic().answer
    assert [group.name for group in groups(answer, strength_axis(answer, samples.STUDY))] == ["dropout = 0", "dropout = 0.5"]


def test_styles_tell_all_eight_variants_apart():
    styles = variant_styles(samples.classic().answer, samples.STUDY)

    assert len({(style.colour, style.dash) for style in styles.values()}) == 8
    assert styles[Variant(l2=0.1, dropout=0.0)].colour == styles[Variant(l2=0.1, dropout=0.5)].colour


@pytest.mark.parametrize("page", ["#ffffff", "#171b21"])
@pytest.mark.parametrize("colour", PALETTE)
def test_palette_can_be_seen_on_light_and_dark(colour, page):
    lighter, darker = sorted((luminance(colour), luminance(page)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def luminance(colour):
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_collapsed_variants_do_not_squash_the_axis():
    sample = samples.classic()
    chart = strengths.strength_charts(sample.answer, sample.study)[0]

    low, high = chart.layout["yaxis"]["range"]
    assert 85 < low < high < 100
    assert any("collapsed" in note["text"] and "20.86" in note["text"] for note in chart.layout["annotations"])
    assert min(min(trace["y"]) for trace in chart.traces) > low


def test_all_collapsed_variants_are_drawn_all_the_same():
    sample = samples.single_condition()
    rows = tuple(replace(row, collapsed=row.n) for row in sample.answer.rows)
    chart = strengths.strength_charts(replace(sample.answer, rows=rows), sample.study)[0]
    assert sum(len(trace["y"]) for trace in chart.traces) == 8


def test_differences_are_drawn_seed_by_seed_in_points():
    sample = samples.classic()
    chart = differences.difference_charts(sample.answer, sample.study)[1]

    expected = sample.answer.comparisons[7]
    dots, mean = chart.traces[:2]
    assert dots["x"] == pytest.approx([100 * value for value in expected.differences], rel=1e-5)
    assert mean["x"] == pytest.approx([100 * expected.difference.point], rel=1e-5)
    assert mean["error_x"]["array"] == pytest.approx([100 * (expected.difference.high - expected.difference.point)], rel=1e-4)
    band = chart.layout["shapes"][0]
    assert (band["x0"], band["x1"]) == (-0.5, 0.5)


@pytest.mark.parametrize(("make", "edge"), [(samples.classic, "←"), (samples.regression, "→")])
def test_differences_off_the_scale_are_noted_inside_the_chart(make, edge):
    sample = make()
    notes = differences.difference_charts(sample.answer, sample.study)[0].layout["annotations"]

    off = [note for note in notes if edge in note["text"]]
    assert len(off) == 2
    assert all(note["xref"] == "paper" and 0 <= note["x"] <= 1 for note in off)


def test_relative_margin_is_a_share_of_the_base():
    sample = samples.regression()
    base = sample.answer.rows[0]
    assert differences.margin_of(sample.answer, sample.study, base.condition) == pytest.approx(
        0.02 * base.metrics["rmse"].estimate.point
    )


def test_gains_are_drawn_over_sizes_a_chart_a_noise():
    sample = samples.many_conditions()
    charts = gains.condition_charts(sample.answer, sample.study)

    assert [chart.title for chart in charts] == ["0 % label noise", "20 % label noise"]
    assert charts[0].layout["xaxis"]["ticktext"] == ["100", "300", "1,000", "3,000", "10,000"]
    assert gains.condition_charts(samples.single_condition().answer, sample.study) == ()


def test_learning_curves_are_means_over_seeds_that_are_done():
    sample = samples.classic()
    done = curves.done_runs(sample.answer, sample.records)
    chart = curves.learning_charts(sample.answer, done)[0]

    diverging = sample.answer.variants.index(Variant(l2=0.1, dropout=0.5))
    runs = done[0, diverging]
    assert len(runs) == 9
    traces = [trace for trace in chart.choices[f"0-{diverging}"] if "fill" not in trace]
    assert traces[-1]["y"] == pytest.approx(np.mean([run.curves["val_loss"] for run in runs], axis=0), rel=1e-5)
    assert len(traces) == 4


def test_first_choice_is_something_that_helps():
    sample = samples.classic()
    condition, variant = curves.first_choice(sample.answer, curves.done_runs(sample.answer, sample.records))
    assert sample.answer.conditions[condition].label_noise == 0.2
    assert sample.answer.variants[variant]["l2"] == 0.01


def test_norms_of_a_deep_network_are_shown_from_first_to_last():
    sample = samples.single_condition()
    norms = {f"layer{number}": (1.0, 2.0) for number in range(30)}
    records = [replace(record, weight_norms=norms) for record in sample.records]
    charts = curves.norm_charts(sample.answer, sample.study, curves.done_runs(sample.answer, records))

    assert len(charts) == 6
    assert (charts[0].title, charts[-1].title) == ("layer0", "layer29")


def test_network_of_linears_is_drawn_as_neurons():
    drawing = network.draw(samples.NETWORK)

    assert [shape.words for shape in drawing.shapes if shape.role == "size"] == ["64", "128", "5"]
    assert sum(shape.kind == "circle" for shape in drawing.shapes) == 6 + 6 + 5
    assert "64 to 128 to 5" in drawing.alt
    assert all(0 <= shape.x <= drawing.width and 0 <= shape.y <= drawing.height for shape in drawing.shapes)


def test_network_marks_what_is_penalised():
    layers = (replace(samples.NETWORK[0], penalised=("bias",)), samples.NETWORK[1])
    roles = {shape.role for shape in network.draw(layers).shapes if shape.kind == "line"}
    assert roles == {"free", "penalised"}


def test_network_of_other_modules_is_drawn_as_boxes_and_elided():
    layers = tuple(Layer(f"block{number}", "Conv2d", 8, 8, 584, ("weight",)) for number in range(40))
    drawing = network.draw(layers)

    assert sum(shape.kind == "rect" for shape in drawing.shapes) == 8
    assert any("32 more layers" in shape.words for shape in drawing.shapes)
    assert network.draw(()) is None
