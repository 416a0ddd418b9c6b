"""A drawing of the network as SVG: columns of neurons for a chain of fully connected layers, boxes for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shrinkwise.experiments.study import Layer

_MOST_NEURONS = 7
_MOST_COLUMNS = 6
_MOST_BOXES = 9
_COLUMN, _NEURON, _TOP = 190, 30, 30
_BOX_WIDTH, _BOX_HEIGHT, _BOX_GAP = 340, 46, 20


@dataclass(frozen=True)
class Shape:
    """One element of the drawing.

    Attributes:
        kind: ``circle``, ``line``, ``rect`` or ``text``.
        role: What it stands for: its CSS class.
        x: Where it stands or starts; ``y`` likewise.
        x2: Where a line ends, or the width of a rectangle; ``y2`` likewise.
        words: What a text says.
    """

    kind: str
    role: str
    x: float
    y: float
    x2: float = 0.0
    y2: float = 0.0
    words: str = ""


@dataclass(frozen=True)
class Drawing:
    """A drawing as shapes, which the page's template writes as SVG and escapes.

    Attributes:
        width: In drawing units; ``height`` likewise.
        shapes: Back to front.
        alt: The same in words.
    """

    width: int
    height: int
    shapes: tuple[Shape, ...]
    alt: str


def draw(layers: Sequence[Layer]) -> Drawing | None:
    """Return the drawing of a network, input to output, or None where its layers are unknown."""
    if not layers:
        return None
    is_chain = all(layer.kind == "Linear" and layer.n_in and layer.n_out for layer in layers) and all(
        before.n_out == after.n_in for before, after in pairwise(layers)
    )
    return _neurons(layers) if is_chain and len(layers) < _MOST_COLUMNS else _boxes(layers)


def is_penalised(layer: Layer) -> bool:
    """Whether L2 acts on the weights of a layer."""
    return any(name.rsplit(".", 1)[-1] != "bias" for name in layer.penalised)


def penalty_words(layer: Layer) -> str:
    """Say on which parameters of a layer L2 acts."""
    return f"L2 on {', '.join(layer.penalised)}" if layer.penalised else ("no L2" if layer.n_parameters else "nothing to penalise")


def _neurons(layers: Sequence[Layer]) -> Drawing:
    sizes = [layers[0].n_in, *(layer.n_out for layer in layers)]
    height = _TOP + _MOST_NEURONS * _NEURON
    middle = _TOP + _MOST_NEURONS * _NEURON / 2
    columns = [_places(size, middle) for size in sizes]
    xs = [70 + place * _COLUMN for place in range(len(sizes))]
    shapes: list[Shape] = []
    for place, layer in enumerate(layers):
        role = "penalised" if is_penalised(layer) else "free"
        shapes += [Shape("line", role, xs[place], y, xs[place + 1], y2) for y in columns[place] for y2 in columns[place + 1]]
    for x, column, size in zip(xs, columns, sizes, strict=True):
        shapes += [Shape("circle", "neuron", x, y) for y in column]
        shapes += [Shape("text", "dots", x, middle + 5, words="⋮")] if size > len(column) else []
    titles = ["input", *(layer.name for layer in layers)]
    for x, size, title in zip(xs, sizes, titles, strict=True):
        shapes += [Shape("text", "size", x, _TOP - 12, words=f"{size:,}"), Shape("text", "name", x, height + 22, words=title)]
    for place, layer in enumerate(layers):
        between = (xs[place] + xs[place + 1]) / 2
        shapes.append(
            Shape("text", "penalised" if is_penalised(layer) else "free", between, height + 41, words=penalty_words(layer))
        )
    chain = " to ".join(f"{size:,}" for size in sizes)
    alt = f"A fully connected network of {chain} neurons. " + " ".join(f"{each.name}: {penalty_words(each)}." for each in layers)
    return Drawing(int(xs[-1] + 70), int(height + 55), tuple(shapes), alt)


def _places(size: int, middle: float) -> list[float]:
    """Return the heights at which a layer's neurons are drawn; of a large one the outer ones, with room for dots in between."""
    n = min(size, _MOST_NEURONS)
    ys = [middle + (place - (n - 1) / 2) * _NEURON for place in range(n)]
    return [y for place, y in enumerate(ys) if size <= _MOST_NEURONS or place != _MOST_NEURONS // 2]


def _boxes(layers: Sequence[Layer]) -> Drawing:
    shown: list[Layer | str] = list(layers)
    if len(layers) > _MOST_BOXES:
        kept = _MOST_BOXES // 2
        shown = [*layers[:kept], f"{len(layers) - 2 * kept} more layers, listed below", *layers[-kept:]]
    shapes: list[Shape] = []
    y, x = 8.0, 8.0
    for place, layer in enumerate(shown):
        if place:
            shapes.append(Shape("line", "arrow", x + _BOX_WIDTH / 2, y - _BOX_GAP, x + _BOX_WIDTH / 2, y - 2))
        if isinstance(layer, str):
            shapes.append(Shape("text", "dots-words", x + _BOX_WIDTH / 2, y + 16, words=f"⋮ {layer}"))
            y += 26 + _BOX_GAP
            continue
        role = "penalised" if is_penalised(layer) else "free"
        sizes = f" {layer.n_in:,} → {layer.n_out:,}" if layer.n_in and layer.n_out else ""
        shapes += [
            Shape("rect", role, x, y, _BOX_WIDTH, _BOX_HEIGHT),
            Shape("text", "box", x + 12, y + 19, words=f"{layer.name}: {layer.kind}{sizes}"),
            Shape("text", "box-note", x + 12, y + 36, words=f"{penalty_words(layer)} · {layer.n_parameters:,} parameters"),
        ]
        y += _BOX_HEIGHT + _BOX_GAP
    alt = "A network of these layers, input to output: " + " ".join(
        f"{each.name} ({each.kind}), {penalty_words(each)}." for each in layers[:50]
    )
    return Drawing(_BOX_WIDTH + 16, int(y), tuple(shapes), alt)
