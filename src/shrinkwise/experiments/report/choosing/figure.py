"""A choice as a figure for papers, drawn with matplotlib and without its global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.report.choosing.styles import CURVE, MARK, MUTED, seed_style
from shrinkwise.experiments.report.choosing.view import ChoiceView, axis_range, choice_view, metric_title, shown
from shrinkwise.experiments.report.choosing.words import lam_text
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from shrinkwise.experiments.selection.choice import Choice


def plot_choice(choice: Choice, study: Study) -> Figure:
    """Return the curve with its band, every run on it, and beneath it the path round by round.

    Args:
        choice: The choice.
        study: What was asked.

    Returns:
        A figure, to be saved with ``savefig`` as PDF, PNG or SVG; without panels where nothing was trained.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed", "the figures are drawn with it", "pip install 'shrinkwise[experiments]'"
        ) from error
    view = choice_view(choice)
    n_rounds = len(choice.path)
    below = 0.22 * n_rounds + 0.5 if n_rounds else 0.0
    figure = Figure(figsize=(5.2, 3.4 + below), layout="constrained")
    if view is None:
        return figure
    panels = figure.subplots(2 if n_rounds else 1, sharex=True, squeeze=False, height_ratios=[3.2, below] if n_rounds else [1])
    upper, lower = panels[0, 0], panels[-1, 0]
    _curve_panel(upper, view)
    upper.set_title(study.data, fontsize=10)
    if n_rounds:
        _path_panel(lower, view)
    lower.set_xticks([place for place, _ in view.axis.ticks], [label for _, label in view.axis.ticks])
    lower.set_xlim(*axis_range(view))
    lower.set_xlabel(view.axis.title)
    if view.axis.break_at is not None:
        lower.text(view.axis.break_at, 0, "//", transform=lower.get_xaxis_transform(), ha="center", va="center", fontweight="bold")
    for panel in {upper, lower}:
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _curve_panel(place: Axes, view: ChoiceView) -> None:
    choice, curve = view.choice, view.curve
    place.axvspan(view.axis.place(choice.low), view.axis.place(choice.high), color=CURVE.colour, alpha=0.1, linewidth=0)
    place.fill_between(curve.x, curve.low, curve.high, color=CURVE.colour, alpha=0.2, linewidth=0)
    place.plot(curve.x, curve.values, color=CURVE.colour, linewidth=2, label="expected over seeds, 95 % band")
    low, high = view.visible
    for number, seed in enumerate(view.seeds):
        look = seed_style(number)
        runs = [run for run in view.runs if run.seed == seed]
        inside = [run for run in runs if not view.is_off(run, shown(choice, run.loss))]
        x = [view.axis.position(run.variant) for run in inside]
        place.plot(x, [shown(choice, run.loss) for run in inside], look.point, color=look.colour, markersize=4, alpha=0.85)
        bad = [view.axis.position(run.variant) for run in runs if run.is_bad]
        edge = high - 0.03 * (high - low) if view.is_top_worse else low + 0.03 * (high - low)
        place.plot(bad, [edge] * len(bad), "x", color=look.colour, markersize=6)
    words = "kept" if choice.keeps_default else "chosen"
    place.axvline(view.axis.place(choice.lam), color=MARK, linewidth=1.3, label=f"{words} {lam_text(choice.lam)}")
    if choice.default is not None and choice.default != choice.lam:
        place.axvline(
            view.axis.place(choice.default), color=MUTED, linewidth=1.2, linestyle="--", label=f"default {lam_text(choice.default)}"
        )
    place.set_ylim(low, high)
    place.set_ylabel(metric_title(choice))
    place.legend(frameon=False, fontsize=8, loc="best")


def _path_panel(place: Axes, view: ChoiceView) -> None:
    seeds = {seed: number for number, seed in enumerate(view.seeds)}
    for number, step in enumerate(view.choice.path, 1):
        if step.low == step.low:
            place.plot([view.axis.place(step.low), view.axis.place(step.high)], [number] * 2, color="0.8", linewidth=6, zorder=1)
            place.plot([view.axis.place(step.best)], [number], "D", color=MARK, markersize=5, fillstyle="none", zorder=3)
        for variant, seed in step.runs:
            look = seed_style(seeds.get(seed, 0))
            place.plot([view.axis.position(variant)], [number], look.point, color=look.colour, markersize=3.5, zorder=2)
    place.set_ylim(len(view.choice.path) + 0.6, 0.4)
    place.set_yticks(range(1, len(view.choice.path) + 1))
    place.set_ylabel("round")
