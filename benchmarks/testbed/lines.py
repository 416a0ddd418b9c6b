"""Rows kept as they come, one JSON object a line: what a killed process had finished is there, and what it had not is not.

A row is kept with a mark of what it rests on, such as a hash of sources; under another mark it is not read, so that an answer never
outlives what gave it. Needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MARK = "mark"


def read(file: Path, mark: str | None = None) -> list[dict[str, Any]]:
    """Read the rows of a file that bear a mark, or all where none is given; half a line of a killed process is passed over."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.pop(MARK, None) == mark or mark is None:
            rows.append(row)
    return rows


def append(file: Path, rows: Iterable[Mapping[str, Any]], mark: str | None = None) -> None:
    """Add rows, all at once, and on a line of their own even where a killed process left half a line behind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row if mark is None else {**row, MARK: mark}) + "\n" for row in rows)
    with file.open("ab+") as out:
        if out.tell():
            out.seek(-1, 2)
            text = text if out.read(1) == b"\n" else f"\n{text}"
        out.write(text.encode())


def fingerprint(*parts: str | Path) -> str:
    """Hash texts, files, and the Python files of folders; the same wherever the checkout lies."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        for piece in (part,) if isinstance(part, str) else sorted(part.rglob("*.py")) if part.is_dir() else (part,):
            content = piece.encode() if isinstance(piece, str) else piece.read_bytes()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
