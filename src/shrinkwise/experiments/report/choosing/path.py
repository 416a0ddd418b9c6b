"""The interactive chart of the path of a search."""

from __future__ import annotations

from shrinkwise.experiments.report.chart import Chart, LegendEntry, Trace, axis_layout, plain, text
from shrinkwise.experiments.report.choosing.marks import axis_break, lam_words, markers, x_axis
from shrinkwise.experiments.report.choosing.styles import MARK, MUTED, seed_style
from shrinkwise.experiments.report.choosing.view import ChoiceView, axis_range, lam_of
from shrinkwise.experiments.report.choosing.words import interval_text, lam_text
from shrinkwise.experiments.report.styles import Style

_ROUND_HEIGHT = 34


def path_charts(view: ChoiceView) -> tuple[Chart, ...]:
    """Return one chart with a line a round, the first on top: what was trained, what looked best, and its interval then."""
    choice = view.choice
    if not choice.path:
        return ()
    traces: list[Trace] = []
    rounds = list(range(1, len(choice.path) + 1))
    left = axis_range(view)[0]
    for number, step in zip(rounds, choice.path, strict=True):
        low, high = (view.axis.place(end) if end > 0 else view.axis.place(0.0) for end in (step.low, step.high))
        words = f"round {number}<br>interval then {interval_text(step.low, step.high)}"
        traces.append(_bar(max(low, left), high, number, words))
    for place, seed in enumerate(view.seeds):
        runs = [(n, variant) for n, step in zip(rounds, choice.path, strict=True) for variant, its in step.runs if its == seed]
        look = seed_style(place)
        # Runs of one round and one λ stand beneath one another, each seed at its own height.
        shift = 0.5 * ((place + 0.5) / len(view.seeds) - 0.5)
        traces.append(
            markers(
                [view.axis.place(lam_of(choice, variant)) for _, variant in runs],
                [n + shift for n, _ in runs],
                look,
                [f"round {n}, seed {seed}<br>{text(variant.name)}" for n, variant in runs],
                size=7,
            )
        )
    bests = [(n, step) for n, step in zip(rounds, choice.path, strict=True) if step.best == step.best]
    traces.append(
        markers(
            [view.axis.place(step.best) for _, step in bests],
            [n for n, _ in bests],
            Style(MARK, "solid", "diamond", "-", "D"),
            [f"best after round {n}: {lam_words(view, step.best)}" for n, step in bests],
            size=12,
            is_open=True,
        )
    )
    layout = {
        "xaxis": x_axis(view),
        "yaxis": axis_layout("round", range=[len(rounds) + 0.6, 0.4], tickvals=_thinned(rounds), zeroline=False),
        "annotations": axis_break(view.axis),
        "margin": {"t": 10},
    }
    told = " ".join(
        f"Round {n}: {len(step.runs)} runs; best {lam_text(step.best)}, interval {interval_text(step.low, step.high)}."
        for n, step in zip(rounds, choice.path, strict=True)
    )
    height = 110 + max(_ROUND_HEIGHT, 18 + 4 * len(view.seeds)) * len(rounds)
    return (
        Chart("path", "what was trained, round by round", f"The path of the search. {told}", layout, tuple(traces), height=height),
    )


def path_legend() -> tuple[LegendEntry, ...]:
    """Return the legend of what looked best."""
    return (LegendEntry("best after the round, grey: its interval then", Style(MARK, "solid", "diamond", "-", "D")),)


def _bar(low: float, high: float, y: float, hover: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": plain([low, high]),
        "y": plain([y, y]),
        "line": {"color": MUTED, "width": 14},
        "opacity": 0.28,
        "hoverinfo": "text",
        "text": [hover, hover],
    }


def _thinned(rounds: list[int]) -> list[int]:
    return rounds[:: max(1, -(-len(rounds) // 12))]
