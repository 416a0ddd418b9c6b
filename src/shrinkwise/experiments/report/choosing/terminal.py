"""A choice in a terminal: the sentence first, then the curve, the path and the costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.report.choosing.confirmed import Confirmed
from shrinkwise.experiments.report.choosing.layers import sensitivity_lines, strength_lines
from shrinkwise.experiments.report.choosing.view import ChoiceView, choice_view, metric_title
from shrinkwise.experiments.report.choosing.words import IN_BUDGET, costs, interval_text, lam_text, priced, reason, sentence
from shrinkwise.experiments.report.terminal import folded, show
from shrinkwise.experiments.stats.two_models import TwoModels
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from shrinkwise.experiments.selection.choice import Choice, Cost
    from shrinkwise.experiments.selection.layers import LayerSensitivity, LayerStrength

_MOST_LINES = 11
_BAR = 24


def show_choice(
    choice: Choice,
    study: Study,
    *,
    confirmation: Confirmed | None = None,
    two_models: TwoModels | None = None,
    layers: Sequence[LayerStrength] = (),
    sensitivities: Sequence[LayerSensitivity] = (),
    prices: Mapping[str, Cost] | None = None,
    console: Console | None = None,
) -> None:
    """Print a choice.

    Args:
        choice: The choice.
        study: What was asked.
        confirmation: The comparison with the default on fresh seeds, where it was made.
        two_models: The same of one run each, over test rows alone; among the notes, and not said twice.
        layers: What the evidence says of each layer.
        sensitivities: How the loss answers to the strength of each layer.
        prices: What was spent apart from the choice: on ``layers`` (out of its budget), on ``verification`` of the advice on them,
            and on ``confirmation``.
        console: Where to; rich's own on standard output where none is given.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.padding import Padding
        from rich.text import Text
    except ImportError as error:
        raise MissingExtraError(
            "rich is not installed", "the terminal's table is drawn with it", "pip install 'shrinkwise[experiments]'"
        ) from error
    console, spent = console or Console(), prices or {}
    console.print()
    console.print(Text(sentence(choice, confirmation), style="bold"), highlight=False)
    console.print(Text(reason(choice)), highlight=False)
    tables = [_curve(view) if (view := choice_view(choice)) else None, _path(choice), _strengths(layers), _slopes(sensitivities)]
    for table in tables:
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    beside = (
        ("layers of the choice", priced(spent.get("layers"), IN_BUDGET)),
        ("verified advice", priced(spent.get("verification"))),
    )
    said = [f"{name}: {value}" for name, value in costs(choice)] + [f"{name}{price}" for name, price in beside if price]
    for note in [*choice.notes, *said]:
        console.print(Padding(Text(f"• {note}"), (0, 0, 0, 1)), highlight=False)
    if confirmation is not None:
        console.print()
        console.print(Text(f"On fresh seeds{priced(spent.get('confirmation'))}", style="underline"))
        show(confirmation.answer, confirmation.study, console)


def _table(*columns: tuple[str, bool]) -> Table:
    """Return an empty table; a column is its title and whether it holds numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for title, is_number in columns:
        # What has no title is a bar, and a bar that is cut needs no dots.
        overflow: Literal["fold", "crop", "ellipsis"] = "ellipsis" if title else "crop"
        table.add_column(Text(title), justify="right" if is_number else "left", no_wrap=is_number, overflow=overflow)
    return table


def _curve(view: ChoiceView) -> Table:
    from rich.text import Text

    choice, curve = view.choice, view.curve
    table = _table((choice.name, True), (folded(metric_title(choice)), True), ("95 % band", True), ("runs near", True), ("", False))
    good = min if view.is_top_worse else max
    best = good(curve.values)
    farthest = max(abs(value - best) for value in curve.values) or 1.0
    picked = _picked(view)
    near = [min(picked, key=lambda place: abs(curve.x[place] - view.axis.position(run.variant))) for run in view.runs]
    for place in picked:
        lam, value = curve.lams[place], curve.values[place]
        band = f"{view.written(curve.low[place])} to {view.written(curve.high[place])}"
        n = near.count(place)
        bar = "▇" * max(1, round(_BAR * math.sqrt(abs(value - best) / farthest)))
        marks = [
            word
            for word, its in (("default", choice.default), ("kept" if choice.keeps_default else "chosen", choice.lam))
            if its == lam
        ]
        style = "bold" if lam == choice.lam else "" if choice.low <= lam <= choice.high else "dim"
        words = Text(bar, style="blue").append(f" ← {', '.join(marks)}" if marks else "", style="bold")
        table.add_row(
            Text(lam_text(lam), style=style),
            Text(view.written(value), style=style),
            Text(band, style=style),
            str(n or ""),
            words,
        )
    return table


def _picked(view: ChoiceView) -> list[int]:
    """Return places on the curve that tell its shape: the choice, the default, the interval's ends, and others evenly between."""
    choice, curve = view.choice, view.curve
    wanted = [lam for lam in (choice.lam, choice.default) if lam is not None]
    kept = {min(range(len(curve.lams)), key=lambda k, lam=lam: abs(curve.lams[k] - lam)) for lam in wanted}  # type: ignore[misc]
    n = len(curve.lams)
    step = max(1, math.ceil(n / max(1, _MOST_LINES - len(kept))))
    return sorted(kept | set(range(0, n, step)) | {n - 1})


def _path(choice: Choice) -> Table | None:
    from rich.text import Text

    if not choice.path:
        return None
    table = _table(("round", True), ("runs", True), ("best then", True), ("interval then", True), ("why", False))
    for number, step in enumerate(choice.path, 1):
        table.add_row(str(number), str(len(step.runs)), lam_text(step.best), interval_text(step.low, step.high), Text(step.why))
    return table


def _strengths(layers: Sequence[LayerStrength]) -> Table | None:
    from rich.text import Text

    if not layers:
        return None
    has_chosen = any(each.chosen is not None for each in layers)
    columns = [("layer", False), ("values", True), ("effective", True), ("share", True), ("λ by the evidence", False)]
    table = _table(*columns, *([("of the choice", False)] if has_chosen else []))
    for line in strength_lines(layers):
        last = [Text(line.chosen)] if has_chosen else []
        table.add_row(Text(line.name), line.n, line.effective, line.share, Text(line.lam), *last)
    return table


def _slopes(sensitivities: Sequence[LayerSensitivity]) -> Table | None:
    from rich.text import Text

    if not sensitivities:
        return None
    has_verified = any(each.verified is not None for each in sensitivities)
    columns = [("layer", False), ("slope by log λ", True), ("what follows", False)]
    table = _table(*columns, *([("one step, trained again", False)] if has_verified else []))
    for line in sensitivity_lines(sensitivities):
        last = [Text(line.verified)] if has_verified else []
        table.add_row(Text(line.name), line.slope, Text(line.advice), *last)
    return table
