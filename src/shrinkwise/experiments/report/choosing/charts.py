"""The interactive charts of a choice: the curve with every run on it, and the curves at other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.report.chart import Chart, LegendEntry, Trace, axis_layout, band, line, note_at, plain, text
from shrinkwise.experiments.report.choosing.marks import axis_break, lam_words, markers, x_axis
from shrinkwise.experiments.report.choosing.styles import CURVE, MARK, MUTED, seed_style
from shrinkwise.experiments.report.choosing.view import (
    ChoiceView,
    Drawn,
    axis_range,
    drawn,
    fate,
    lam_of,
    metric_title,
    shown,
)
from shrinkwise.experiments.report.choosing.words import interval_text, lam_text
from shrinkwise.experiments.report.styles import Style, style
from shrinkwise.experiments.stats.words import listed

if TYPE_CHECKING:
    from shrinkwise.experiments.selection.choice import Seen

_SHADE = "rgba(47,127,214,0.10)"
_MOST_SEEDS_IN_A_LEGEND = 16
_HEIGHT = 420


def curve_charts(view: ChoiceView) -> tuple[Chart, ...]:
    """Return the curve with every run on it, as measured and, where several seeds were used, without what each seed adds."""
    measured = {id(run): shown(view.choice, run.loss) for run in view.runs}
    charts = [_curve_chart(view, "curve", f"{metric_title(view.choice)}, as measured", measured)]
    if len(view.seeds) > 1:
        gaps = view.levelled()
        level = {id(run): view.level(run, gaps) for run in view.runs}
        charts.append(_curve_chart(view, "level", "the same without what each seed adds to all its runs", level))
    return tuple(charts)


def curve_legend(view: ChoiceView) -> tuple[LegendEntry, ...]:
    """Return the legend of the line that every chart of curves has."""
    return (LegendEntry("expected over seeds, with its 95 % band", CURVE),)


def seed_legend(view: ChoiceView) -> tuple[LegendEntry, ...]:
    """Return the legend of the points: one entry a seed, none where there are very many."""
    if len(view.seeds) > _MOST_SEEDS_IN_A_LEGEND:
        return ()
    return tuple(LegendEntry(f"seed {seed}", seed_style(number)) for number, seed in enumerate(view.seeds))


def other_charts(view: ChoiceView) -> tuple[Chart, ...]:
    """Return one chart with a curve for each of the other settings that were searched; none where there was one only."""
    choice = view.choice
    if len(choice.curves) < 2:
        return ()
    traces: list[Trace] = []
    curves = [drawn(choice, view.axis, points) for _, points in choice.curves]
    for number, ((settings, _), curve) in enumerate(zip(choice.curves, curves, strict=True)):
        look = style(1 + number, number)
        hover = [
            f"{text(settings_text(settings))}<br>{lam_words(view, lam)}: {view.written(value)}"
            for lam, value in zip(curve.lams, curve.values, strict=True)
        ]
        if is_chosen(view, settings):
            traces.append(band(curve.x, curve.low, curve.high, look.colour))
        traces.append(line(curve.x, curve.values, look, hover))
        runs = [run for run in choice.runs if not run.is_bad and _agrees(run.variant, settings)]
        traces.append(_points(view, runs, [shown(choice, run.loss) for run in runs], look, size=6))
    best = [min(curve.values) if view.is_top_worse else max(curve.values) for curve in curves]
    low, high = min([view.visible[0], *best]), max([view.visible[1], *best])
    layout = _layout(view, (low, high))
    names = listed((settings_text(settings) for settings, _ in choice.curves), most=len(choice.curves))
    alt = f"{metric_title(choice)} against {view.axis.title}, a curve for each of {names}; the band is that of the chosen one."
    return (
        Chart(
            "others", f"{metric_title(choice)}, by {' and '.join(choice.curves[0][0])}", alt, layout, tuple(traces), height=_HEIGHT
        ),
    )


def other_legend(view: ChoiceView) -> tuple[LegendEntry, ...]:
    """Return the legend of the curves by other settings."""
    return tuple(
        LegendEntry(
            f"{settings_text(settings)} (chosen)" if is_chosen(view, settings) else settings_text(settings), style(1 + n, n)
        )
        for n, (settings, _) in enumerate(view.choice.curves)
    )


def settings_text(settings: Variant) -> str:
    """Write other settings, such as ``lr = 0.1``."""
    return ", ".join(f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}" for name, value in settings.items())


def is_chosen(view: ChoiceView, settings: Variant) -> bool:
    """Whether these other settings are the chosen ones."""
    return _agrees(view.choice.variant, settings)


def _agrees(variant: Variant, settings: Variant) -> bool:
    return all(variant.get(name) == value for name, value in settings.items())


def _curve_chart(view: ChoiceView, name: str, title: str, values: Mapping[int, float]) -> Chart:
    choice, curve = view.choice, view.curve
    traces = [band(curve.x, curve.low, curve.high, CURVE.colour), line(curve.x, curve.values, CURVE, _curve_hover(view, curve))]
    for number, seed in enumerate(view.seeds):
        runs = sorted((run for run in view.runs if run.seed == seed), key=lambda run: lam_of(choice, run.variant))
        look = seed_style(number)
        inside = [run for run in runs if not view.is_off(run, values[id(run)])]
        traces.append(_points(view, inside, [values[id(run)] for run in inside], look, is_joined=name == "curve"))
        traces += _edge(view, values, [run for run in runs if run not in inside], look)
    layout = _layout(view, view.visible)
    told = f"Chosen {lam_text(choice.lam)}, interval {interval_text(choice.low, choice.high)}."
    ends = ", ".join(f"{lam_text(lam)}: {view.written(value)}" for lam, value in _some(curve))
    alt = f"{metric_title(choice)} against {view.axis.title}: {title}. {told} The curve runs through {ends}."
    return Chart(name, title, alt, layout, tuple(trace for trace in traces if trace["x"]), height=_HEIGHT)


def _curve_hover(view: ChoiceView, curve: Drawn) -> list[str]:
    return [
        f"{lam_words(view, lam)}<br>expected {view.written(value)}<br>band {view.written(low)} to {view.written(high)}"
        for lam, value, low, high in zip(curve.lams, curve.values, curve.low, curve.high, strict=True)
    ]


def _points(
    view: ChoiceView, runs: Sequence[Seen], values: Sequence[float], look: Style, *, size: int = 8, is_joined: bool = False
) -> Trace:
    hover = [_run_hover(view, run) for run in runs]
    x = [view.axis.position(run.variant) for run in runs]
    trace = markers(x, values, look, hover, size=size)
    if is_joined:
        trace |= {"mode": "lines+markers", "line": {"color": look.colour, "width": 1, "dash": "dot"}}
    return trace


def _edge(view: ChoiceView, values: Mapping[int, float], runs: Sequence[Seen], look: Style) -> list[Trace]:
    """Return what is no good, or far off the scale, as signs at the edge of the chart."""
    low, high = view.visible
    strip = 0.035 * (high - low)
    traces = []
    for is_bad in (True, False):
        mine = [run for run in runs if run.is_bad is is_bad]
        at_top = [view.is_top_worse if is_bad else values[id(run)] > high for run in mine]
        y = [high - strip if top else low + strip for top in at_top]
        trace = markers([view.axis.position(run.variant) for run in mine], y, look, [_run_hover(view, run) for run in mine], size=9)
        arrows = ["triangle-up" if top else "triangle-down" for top in at_top]
        trace["marker"] |= {"symbol": ["x-thin-open"] * len(mine) if is_bad else arrows, "line": {"width": 2, "color": look.colour}}
        traces.append(trace)
    return traces


def _run_hover(view: ChoiceView, run: Seen) -> str:
    how = fate(run)
    value = f"<br>{view.written(shown(view.choice, run.loss))}" if run.loss == run.loss else ""
    return f"{text(run.variant.name)}, seed {run.seed}{value}{'' if how == 'good' else f'<br>{how}'}"


def _layout(view: ChoiceView, visible: tuple[float, float]) -> dict[str, Any]:
    choice, axis = view.choice, view.axis
    left, right = axis_range(view)
    low, high = max(axis.place(choice.low), left), min(axis.place(choice.high), right)
    marks = [(choice.lam, f"{'kept' if choice.keeps_default else 'chosen'} {lam_text(choice.lam)}", MARK, "solid", 1.02)]
    if choice.default is not None and choice.default != choice.lam:
        marks.append((choice.default, f"default {lam_text(choice.default)}", MUTED, "dash", 1.09))
    shapes: list[dict[str, Any]] = [
        {
            "type": "rect",
            "x0": low,
            "x1": high,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": _SHADE,
            "line": {"width": 0},
            "layer": "below",
        }
    ]
    notes = axis_break(axis)
    for lam, words, colour, dash, height in marks:
        x = axis.place(lam)
        drawn_as = {"color": colour, "width": 1.5, "dash": dash}
        shapes.append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": drawn_as, "layer": "above"})
        share = (x - left) / (right - left)
        side = "left" if share < 0.2 else "right" if share > 0.8 else "center"
        notes.append(
            note_at(x, height, f"<b>{words}</b>", yref="paper", yanchor="bottom", xanchor=side)
            | {"font": {"size": 12, "color": colour}}
        )
    return {
        "xaxis": x_axis(view),
        "yaxis": axis_layout(metric_title(choice), zeroline=False, range=plain(visible)),
        "shapes": shapes,
        "annotations": notes,
        "margin": {"t": 48},
    }


def _some(curve: Drawn) -> list[tuple[float, float]]:
    """Return a handful of points of a curve, for those who cannot see it."""
    pairs = list(zip(curve.lams, curve.values, strict=True))
    return pairs[:: max(1, len(pairs) // 8)]
