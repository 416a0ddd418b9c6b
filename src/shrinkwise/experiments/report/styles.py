"""What each variant looks like in every picture: colour by strength, dash and marker by everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shrinkwise.experiments.records import Variant
from shrinkwise.experiments.report.axis import groups, strength_axis
from shrinkwise.experiments.stats.answer import Answer
from shrinkwise.experiments.study import Study

PALETTE = ("#7a828c", "#2f7fd6", "#c8690a", "#15906f", "#bd4f96", "#8468d6", "#8a8112", "#d14b45")
"""Eight hues with a contrast of at least 3 against both the light and the dark page (WCAG 2.2, 1.4.11); grey is the base's."""

SHAPES = (
    ("solid", "circle", "-", "o"),
    ("dot", "square", ":", "s"),
    ("dash", "diamond", "--", "D"),
    ("dashdot", "triangle-up", "-.", "^"),
)
"""Dash and marker, in plotly's words and then in matplotlib's."""


@dataclass(frozen=True)
class Style:
    """Colour, dash and marker; ``dash`` and ``marker`` in plotly's words, ``line`` and ``point`` in matplotlib's."""

    colour: str
    dash: str
    marker: str
    line: str
    point: str


def style(colour: int, shape: int) -> Style:
    """Return the style with the given numbers, counted around where there are more than exist."""
    return Style(PALETTE[colour % len(PALETTE)], *SHAPES[shape % len(SHAPES)])


def group_style(number: int) -> Style:
    """Return the style of the ``number``-th line over the axis of strengths: never the grey of a base."""
    return style(1 + number % (len(PALETTE) - 1), number)


def variant_styles(answer: Answer, study: Study) -> Mapping[Variant, Style]:
    """Return the style of every variant: those of one strength share a colour, those alike in all else a dash and a marker."""
    axis = strength_axis(answer, study)
    found = groups(answer, axis) if axis else ()
    placed: dict[Variant, Style] = {}
    if axis:
        strengths = sorted({float(variant[axis.setting]) for group in found for variant in group.variants})
        for shape, group in enumerate(found):
            placed |= {each: style(strengths.index(float(each[axis.setting])), shape) for each in group.variants}
    rest = [variant for variant in answer.variants if variant not in placed]
    first = len({each.colour for each in placed.values()})
    return placed | {variant: style(first + number, (first + number) // len(PALETTE)) for number, variant in enumerate(rest)}
