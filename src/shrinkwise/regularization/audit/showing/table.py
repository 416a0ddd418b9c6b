"""What every view of an audit shows, as text: a headline, and a line for each parameter or each set of repeated ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shrinkwise.regularization.audit.action import Action
from shrinkwise.regularization.audit.parameter import AuditedParameter
from shrinkwise.regularization.rules.fold import fold

HEADER = ("parameter", "shape", "role", "acts", "declared", "measured")
CAPTION = "declared, measured: the fraction of a weight that one step removes where the data give no gradient (~ by a sample)"


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        cells: Texts, in the order of ``HEADER``.
        aliases: The other names of what it stands for.
        n: How many parameters it stands for.
        is_regularised: Whether something acts on them.
    """

    cells: tuple[str, ...]
    aliases: tuple[str, ...]
    n: int
    is_regularised: bool


def lines_of(parameters: Sequence[AuditedParameter], depth: int) -> tuple[Line, ...]:
    """Return the lines of the table; repeated layers are one where all but the measured figures agrees, which show as a range."""
    kinds = [
        (
            p.shape,
            p.role,
            acts(p.actions),
            _figure(p.declared_shrink),
            p.shrinks,
            p.is_lost,
            p.is_sampled,
            p.is_frozen,
            p.groups,
            p.dtype,
            len(p.aliases),
        )
        for p in parameters
    ]
    lines = []
    for name, positions in fold([p.name for p in parameters], kinds, depth):
        those = [parameters[i] for i in positions]
        first = those[0]
        aliases = tuple(alias for alias, _ in fold([alias for p in those for alias in p.aliases], depth=depth))
        cells = (
            name,
            "x".join(map(str, first.shape)) or "1",
            first.role,
            "frozen" if first.is_frozen and not first.shrinks else acts(first.actions),
            _range(p.declared_shrink for p in those),
            ("~" if any(p.is_sampled for p in those) else "") + _range(p.measured_shrink for p in those),
        )
        lines.append(Line(cells, aliases, len(those), first.is_regularised))
    return tuple(lines)


def acts(actions: Sequence[Action]) -> str:
    """Return what acts and how strongly, such as ``decay 0.01``; where it comes from, if that is not ``weight_decay``.

    >>> acts([Action("decay", "weight_decay", 0.01), Action("l2", "loss", 0.1)])
    'decay 0.01 + l2 0.1 (loss)'
    """
    texts = []
    for action in actions:
        strength = "" if action.lam is None else f" {action.lam:.3g}"
        source = "" if action.by == "weight_decay" else f" ({action.by.replace('_', ' ')})"
        texts.append(f"{action.kind}{strength}{source}")
    return " + ".join(texts) or "-"


def headline(model: str, optimizers: Sequence[str], parameters: Sequence[AuditedParameter]) -> str:
    """Return what was audited and how much of it shrinks, in one sentence."""
    trained = [p for p in parameters if not p.is_frozen]
    values = sum(p.n for p in parameters)
    what = f"{model} with {' and '.join(optimizers)}" if optimizers else model
    text = f"{what}: {len(parameters)} parameters, {_count(values)} values"
    if len(trained) < len(parameters):
        text += f", {len(parameters) - len(trained)} parameters frozen"
    if not optimizers:
        return f"{text}."
    shrinking = [p for p in trained if p.is_regularised]
    return f"{text}. Regularised: {len(shrinking)} parameters, {_count(sum(p.n for p in shrinking))} values."


def _count(n: int) -> str:
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return str(n)


def _range(values: Iterable[float | None]) -> str:
    known = list(values)
    texts = {_figure(value) for value in known}
    numbers = [value for value in known if value is not None]
    if len(texts) == 1 or len(numbers) < len(known):
        return texts.pop() if len(texts) == 1 else "?"
    return f"{_figure(min(numbers))} to {_figure(max(numbers))}"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.2g}"
