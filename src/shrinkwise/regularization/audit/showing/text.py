"""An audit as plain text that needs nothing but Python."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from shrinkwise.regularization.audit.showing.table import CAPTION, HEADER, Line

if TYPE_CHECKING:
    from shrinkwise.regularization.audit.finding import Finding
    from shrinkwise.regularization.audit.found import Found

_GAP = "  "
_N_RIGHT = 2


def text_of(audit: Found, width: int) -> str:
    """Return warnings, the table, and what was not checked.

    Args:
        audit: What was found.
        width: Columns to fill; a name that is longer than its column stands on a line of its own.
    """
    blocks = ["\n".join(textwrap.wrap(audit.headline, width))]
    for title, findings in (("Warnings", audit.warnings), ("Notes", audit.notes)):
        if findings:
            blocks.append("\n".join([f"{title}:", *(line for finding in findings for line in _finding(finding, width))]))
    if audit.lines:
        blocks.append("\n".join(_table(audit.lines, width)))
    if audit.not_checked:
        blocks.append("\n".join(["Not checked:", *(line for reason in audit.not_checked for line in _bullet(reason, width))]))
    return "\n\n".join(blocks)


def _finding(finding: Finding, width: int) -> Iterator[str]:
    yield from _bullet(finding.message, width)
    yield from textwrap.wrap(
        f"-> {finding.mend}", width, initial_indent="    ", subsequent_indent="       ", break_on_hyphens=False
    )


def _bullet(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )


def _table(lines: Sequence[Line], width: int) -> Iterator[str]:
    rows = [HEADER, *(line.cells for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    others = sum(widths[1:]) + len(_GAP) * (len(HEADER) - 1)
    widths[0] = min(widths[0], max(width - others, len(HEADER[0])))
    yield _row(HEADER, widths)
    yield _GAP.join("-" * n for n in widths)
    for line in lines:
        name = line.cells[0]
        if len(name) > widths[0]:
            yield name
            name = ""
        yield _row((name, *line.cells[1:]), widths)
        yield from (f"  = {alias}" for alias in line.aliases)
    yield ""
    yield from textwrap.wrap(CAPTION, width)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    n_left = len(cells) - _N_RIGHT
    texts = [cell.ljust(n) if i < n_left else cell.rjust(n) for i, (cell, n) in enumerate(zip(cells, widths, strict=True))]
    return _GAP.join(texts).rstrip()
