"""An audit in a terminal and as a DataFrame: the only module of this wing that uses rich and pandas, where they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shrinkwise.errors import MissingExtraError
from shrinkwise.regularization.audit.showing.table import CAPTION, HEADER

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame
    from rich.console import RenderableType as RenderableType
    from rich.text import Text

    from shrinkwise.regularization.audit.found import Found


def frame_of(audit: Found) -> DataFrame:
    """Return one row a parameter.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError(
            "pandas is not installed", "a DataFrame is made with it", "pip install 'shrinkwise[experiments]', or use to_dict()"
        ) from error
    return pd.DataFrame(audit.to_dict()["parameters"])


def rich_of(audit: Found) -> RenderableType:
    """Return warnings, the table, and what was not checked, for rich to print."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(audit.headline, style="bold")]
    for title, findings, style in (("Warnings", audit.warnings, "yellow"), ("Notes", audit.notes, "cyan")):
        said = [Text.assemble((finding.message, style), (f"\n→ {finding.mend}", "dim")) for finding in findings]
        parts += _list(title, said, style)
    if audit.lines:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        table.add_column(HEADER[0], overflow="fold")
        for i, title in enumerate(HEADER[1:]):
            table.add_column(title, justify="right" if i > 2 else "left", no_wrap=title != "acts")
        for line in audit.lines:
            name = Text("\n= ".join((line.cells[0], *line.aliases)))
            table.add_row(name, *map(Text, line.cells[1:]), style="" if line.is_regularised else "dim")
        parts += [Text(), table, Text(f"\n{CAPTION}", style="dim")]
    return Group(*parts, *_list("Not checked", [Text(reason, style="dim") for reason in audit.not_checked], "dim"))


def _list(title: str, items: Sequence[Text], style: str) -> list[RenderableType]:
    """Return a title and items with bullets; nothing where there are none."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for item in items:
        grid.add_row(Text(" •", style=style), item)
    return [Text(), Text(title, style=f"bold {style}"), grid] if items else []
