"""An audit as a small piece of HTML, with all its style inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from shrinkwise.regularization.audit.showing.table import CAPTION, HEADER, Line

if TYPE_CHECKING:
    from shrinkwise.regularization.audit.finding import Finding
    from shrinkwise.regularization.audit.found import Found

# Colours are the page's own, half transparent, so that it is readable on light and on dark.
_STYLE = """<style>
.sw-audit { font: 13px/1.5 system-ui, sans-serif; max-width: 70em; }
.sw-audit table { border-collapse: collapse; margin: .8em 0; font-size: 12px; }
.sw-audit th, .sw-audit td { text-align: left; padding: .2em .9em .2em 0; border-bottom: 1px solid rgba(128, 128, 128, .25); }
.sw-audit td:first-child { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.sw-audit th:nth-child(n+5), .sw-audit td:nth-child(n+5) { text-align: right; font-variant-numeric: tabular-nums; }
.sw-audit .free td { opacity: .6; }
.sw-audit ul { margin: .3em 0 .8em; padding-left: 1.2em; }
.sw-audit .warning { border-left: 3px solid #d98e04; padding: .1em .8em; margin: .4em 0; }
.sw-audit .note { border-left: 3px solid #3b8ea5; padding: .1em .8em; margin: .4em 0; }
.sw-audit .mend { opacity: .7; }
</style>"""


def html_of(audit: Found) -> str:
    """Return warnings, the table, and what was not checked."""
    parts = [_STYLE, f"<p><b>{escape(audit.headline)}</b></p>"]
    parts += [_finding(finding, "warning") for finding in audit.warnings]
    parts += [_finding(finding, "note") for finding in audit.notes]
    parts.append(_table(audit.lines))
    if audit.not_checked:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in audit.not_checked)
        parts.append(f"<div class='mend'>Not checked<ul>{items}</ul></div>")
    return f"<div class='sw-audit'>{''.join(parts)}</div>"


def _finding(finding: Finding, kind: str) -> str:
    return f"<div class='{kind}'>{escape(finding.message)}<br><span class='mend'>→ {escape(finding.mend)}</span></div>"


def _table(lines: Sequence[Line]) -> str:
    head = "".join(f"<th>{title}</th>" for title in HEADER)
    body = "".join(f"<tr{'' if line.is_regularised else ' class=free'}>{_cells(line)}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p class=mend>{CAPTION}</p>" if lines else ""


def _cells(line: Line) -> str:
    name, *others = line.cells
    names = "<br>= ".join(map(escape, (name, *line.aliases)))
    return f"<td>{names}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in others)
