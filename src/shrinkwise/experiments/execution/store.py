"""Where records are kept: one SQLite file an experiment, one transaction for what ended together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Column, Integer, LargeBinary, MetaData, String, Table, Text, create_engine, delete, insert, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool

from shrinkwise.errors import StoreError
from shrinkwise.experiments.execution.codec import decode, encode, encode_key
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.records import Record, RunKey, Status

_FILE = "runs.sqlite"
_MOST_NAMES = 500
"""Runs asked for at once: SQLite bounds what one question may name."""

_METADATA = MetaData()
_PLAN = Table("plan", _METADATA, Column("id", Integer, primary_key=True), Column("document", Text, nullable=False))
_RECORDS = Table(
    "records",
    _METADATA,
    Column("key", Text, primary_key=True),
    Column("status", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("arrays", LargeBinary, nullable=False),
)


class Store:
    """The plan and the records of one experiment; a context manager.

    A record is there whole or not at all, whoever kills the process at whatever moment.

    Args:
        folder: Where the experiment lives; it is made where absent. None keeps everything in memory.

    Raises:
        StoreError: The folder cannot be made or written, or its file is no store.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is None:
            self._engine = create_engine("sqlite://", poolclass=StaticPool)
        else:
            _make(folder)
            self._engine = create_engine(URL.create("sqlite", database=str(folder / _FILE)))
        try:
            with self._translated():
                _METADATA.create_all(self._engine)
        except StoreError:
            self._engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._engine.dispose()

    def plan(self) -> Plan | None:
        """Return the plan that is kept here, or None in a new store."""
        with self._translated(), self._engine.connect() as connection:
            document = connection.execute(select(_PLAN.c.document)).scalar()
        if document is None:
            return None
        try:
            return Plan.from_document(json.loads(document))
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{self.folder} cannot be read",
                "its plan was written by another version of Shrinkwise",
                "give another output folder",
            ) from error

    def claim(self, plan: Plan) -> Plan:
        """Keep ``plan`` in a new store; in a used one, make sure that it is the same experiment.

        Returns:
            ``plan``, by the means of the plan that is kept.

        Raises:
            StoreError: The folder belongs to another experiment, or runs are missing that could only be trained with other versions
                of a library than those that are there; the message names what differs.
        """
        kept = self.plan()
        if kept is None:
            with self._translated(), self._engine.begin() as connection:
                connection.execute(insert(_PLAN).values(id=1, document=json.dumps(plan.document())))
            return plan
        if differences := plan.differences(kept):
            raise StoreError(
                f"{self.folder} belongs to another experiment",
                f"yours against the one there: {'; '.join(differences)}",
                "give another output folder, or the settings of the experiment that is there",
            )
        if self.missing(plan.runs()):
            self.check_versions(plan)
        return replace(plan, means=kept.means)

    def check_versions(self, plan: Plan) -> None:
        """Make sure that runs trained now would be like those that are there.

        Raises:
            StoreError: Those were trained with other versions of a library than ``plan`` names.
        """
        kept = self.plan()
        if kept is not None and plan.means["versions"] != kept.means["versions"]:
            raise StoreError(
                f"{self.folder} was begun with {_listed(kept.means['versions'])}",
                f"you have {_listed(plan.means['versions'])}, and runs of the two are not alike to the last bit",
                "finish it with the versions that it was begun with, or give another output folder",
            )

    def append(self, records: Sequence[Record]) -> None:
        """Keep records in one transaction; each takes the place of what is there of its run, or stands before it here."""
        rows: dict[str, dict[str, Any]] = {}
        for record in records:
            body, arrays = encode(record)
            name = encode_key(record.key)
            rows[name] = {"key": name, "status": record.status.value, "body": body, "arrays": arrays}
        if not rows:
            return
        names = list(rows)
        with self._translated(), self._engine.begin() as connection:
            for first in range(0, len(names), _MOST_NAMES):
                connection.execute(delete(_RECORDS).where(_RECORDS.c.key.in_(names[first : first + _MOST_NAMES])))
            connection.execute(insert(_RECORDS), list(rows.values()))

    def missing(self, keys: Sequence[RunKey]) -> list[RunKey]:
        """List those of the runs that are still to be trained, each once; a failed run is one of them."""
        with self._translated(), self._engine.connect() as connection:
            there = set(connection.execute(select(_RECORDS.c.key).where(_RECORDS.c.status != Status.FAILED.value)).scalars())
        return [key for key in dict.fromkeys(keys) if encode_key(key) not in there]

    def records(self, keys: Sequence[RunKey]) -> list[Record]:
        """Return the records of these runs that are there, in the order of ``keys``."""
        names = [encode_key(key) for key in keys]
        asked = list(dict.fromkeys(names))
        rows: dict[str, Any] = {}
        with self._translated(), self._engine.connect() as connection:
            for first in range(0, len(asked), _MOST_NAMES):
                wanted = _RECORDS.c.key.in_(asked[first : first + _MOST_NAMES])
                rows |= {row.key: row for row in connection.execute(select(_RECORDS).where(wanted))}
        return [decode(rows[name].body, rows[name].arrays) for name in names if name in rows]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise StoreError(
                f"{self.folder} cannot be used", f"its file {_FILE} answers: {error.orig}", "give another output folder"
            ) from error


def holds_store(folder: Path) -> bool:
    """Whether a store was made in a folder."""
    return (folder / _FILE).exists()


def check_writable(folder: Path) -> None:
    """Make sure, without making it, that a folder can be made and written.

    Raises:
        StoreError: It cannot.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StoreError(
            f"{folder} cannot be made",
            f"{there} {'cannot be written' if there.is_dir() else 'is no folder'}",
            "give a folder that you may write",
        )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made", str(error.strerror), "give a folder that you may write") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{folder} cannot be written", "you have no right to write there", "give a folder that you may write")
