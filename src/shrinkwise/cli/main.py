"""The command ``shrinkwise``: its commands, and what becomes of errors."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from shrinkwise.errors import MissingExtraError, ShrinkwiseError

_RESUMABLE = (["demo"], ["compare"], ["tune"])
_DONE, _OUR_FAULT, _USERS_MISTAKE, _INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 a fault of ours, 2 the user's mistake, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that lacks λ, − or ▲ shows a question mark there; it does not end the command.
            stream.reconfigure(errors="replace")
    try:
        from shrinkwise.cli.app import run
    except ImportError as error:
        if error.name is None or error.name.startswith("shrinkwise"):
            raise
        return _say(
            MissingExtraError(
                f"{error.name} is not installed",
                "the command line needs the extra 'experiments'",
                "pip install 'shrinkwise[experiments]'",
            )
        )
    given = sys.argv[1:] if argv is None else argv
    try:
        return run(given)
    except ShrinkwiseError as error:
        return _say(error)
    except KeyboardInterrupt:
        kept = " The runs that had ended are kept: the same command goes on from there." if given[:1] in _RESUMABLE else ""
        print(f"\nInterrupted.{kept}", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED


def _say(error: ShrinkwiseError) -> int:
    for line in str(error).splitlines():
        print(f"shrinkwise: {line}", file=sys.stderr)  # noqa: T201
    return _USERS_MISTAKE
