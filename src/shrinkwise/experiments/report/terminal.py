"""The answer in a terminal: verdict first, one table a condition, what to know beneath."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.report.formats import NOTHING, headline_metrics, scale_of
from shrinkwise.experiments.report.lines import Line, level_of, lines_of
from shrinkwise.experiments.report.table import caption_of
from shrinkwise.experiments.stats.answer import Answer, Finding
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES = {Finding.HELPS: "bold green", Finding.HURTS: "bold red", Finding.EQUIVALENT: "cyan", Finding.INCONCLUSIVE: "yellow"}
_WIDTH_OF_ALL_COLUMNS = 92
_LONGEST_TITLE = 16


def show(answer: Answer, study: Study, console: Console | None = None) -> None:
    """Print the answer.

    The primary metric and one other are shown, seeds won and the weight norm too where the terminal is wide enough; the page, the
    DataFrame and Markdown have every metric.

    Args:
        answer: What the statistics say.
        study: What was asked.
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
    console = console or Console()
    console.print()
    console.print(Text(answer.sentence, style="bold"), highlight=False)
    for condition in answer.conditions:
        console.print()
        console.print(Text(caption_of(answer, condition), style="underline"))
        console.print(
            _table(answer, study, lines_of(answer, condition, headline_metrics(answer, study.primary_metric)), console.width)
        )
    console.print()
    for note in answer.notes:
        console.print(Padding(Text(f"• {note}"), (0, 0, 0, 1)), highlight=False)


def _table(answer: Answer, study: Study, lines: tuple[Line, ...], width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    scales = [scale_of(answer, metric) for metric in headline_metrics(answer, study.primary_metric)]
    unit = f", {scales[0].difference_unit}" if scales[0].difference_unit else ""
    is_wide = width >= _WIDTH_OF_ALL_COLUMNS
    has_norm = is_wide and any(line.norm != NOTHING for line in lines)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("variant", overflow="fold")
    table.add_column(Text(folded(scales[0].title)), justify="right", min_width=12)
    table.add_column(Text(f"vs base{unit}\n{level_of(answer)} interval"), justify="right", no_wrap=True)
    if is_wide:
        table.add_column("seeds\nwon", justify="right")
    for scale in scales[1:]:
        table.add_column(Text(f"{folded(scale.title)}\nvs base"), justify="right", no_wrap=True)
    if has_norm:
        table.add_column("weight\nnorm", justify="right")
    table.add_column("finding\np (Holm)", no_wrap=True)
    for line in lines:
        texts = [_two(line.variant.replace(" + ", "\n+ "), line.chosen), _two(line.cells[0].spread, line.trouble)]
        texts.append(_two(line.cells[0].difference, line.interval))
        texts += [Text(line.won)] if is_wide else []
        texts += [_two(cell.spread, cell.difference) for cell in line.cells[1:]]
        texts += [Text(line.norm)] if has_norm else []
        table.add_row(*texts, _finding(line))
    return table


def folded(title: str) -> str:
    """Break the title of a column where a long name of a metric has a joint, so that numbers beside it keep their room.

    >>> folded("validation macro_balanced_accuracy, %").splitlines()
    ['validation', 'macro_balanced_', 'accuracy, %']
    """
    lines = [""]
    for piece in re.findall(r"[^\s_/.-]*[\s_/.-]*", title):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > _LONGEST_TITLE:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip(" ") for line in lines)


def _two(first: str, second: str) -> Text:
    from rich.text import Text

    text = Text(first)
    return text.append(f"\n{second}", style="dim") if second else text


def _finding(line: Line) -> Text:
    from rich.text import Text

    text = Text(line.verdict, style=_STYLES[line.finding] if line.finding else "dim")
    if line.p not in ("", NOTHING):
        text.append(f"\np {line.p}", style="not bold dim")
    if line.seeds_needed:
        text.append(f"\n{line.seeds_needed.removesuffix(' would decide')}", style="not bold dim")
    return text
