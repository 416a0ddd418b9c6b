"""Bytes of a file, unpacked where it is gzipped, with every way in which that can fail said plainly."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from shrinkwise.errors import DataError, did_you_mean


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        data: Its bytes, unpacked.
        is_whole: False where a gzip stream ends before its end mark; ``data`` is then what came before.
    """

    data: bytes
    is_whole: bool


def read_contents(path: Path) -> Contents:
    """Read a file, gzipped or not, as its first two bytes tell.

    Raises:
        DataError: It cannot be read, or its gzip stream is damaged.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read", error.strerror or str(error), "give a file that exists and may be read"
        ) from error
    if not raw.startswith(b"\x1f\x8b"):
        return Contents(raw, True)
    try:
        return Contents(gzip.decompress(raw), True)
    except EOFError:
        return Contents(zlib.decompressobj(wbits=31).decompress(raw), False)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked", f"its gzip stream is damaged ({error})", "fetch the file again") from error


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a mend that names the closest known word, or ``otherwise`` where none is close.

    >>> nearest("digit", ["digits", "mnist"], "give a file"), nearest("x", ["digits", "mnist"], "give a file")
    ("did you mean 'digits'?", 'give a file')
    """
    mend = did_you_mean(word, known)
    return mend if mend.startswith("did you mean") else otherwise


def separator_of(text: str) -> str:
    r"""Return what parts the fields of a table, by its first line: tab or semicolon where one stands there oftener than the comma.

    >>> separator_of("a;b;c\n0,5;1;2"), separator_of("a,b")
    (';', ',')
    """
    return max(",;\t", key=text.lstrip("\r\n").split("\n", 1)[0].count)
