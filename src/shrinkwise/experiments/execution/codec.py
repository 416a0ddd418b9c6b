"""A record as JSON text and a block of arrays, and back, to the last bit."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from shrinkwise.experiments.records import Condition, Outcome, Record, RunKey, Status, Variant

_OUTCOMES = ("last", "best_val")


def encode_key(key: RunKey) -> str:
    """Return the name of a run; the same for equal keys whatever the order of a variant's settings."""
    return json.dumps([dict(sorted(key.variant.items())), asdict(key.condition), key.seed])


def encode(record: Record) -> tuple[str, bytes]:
    """Return a record's numbers as JSON and its arrays as an ``.npz`` archive."""
    body: dict[str, Any] = {
        f.name: getattr(record, f.name) for f in fields(record) if f.name not in ("key", "test_rows", *_OUTCOMES)
    }
    body["variant"], body["condition"] = dict(record.key.variant), asdict(record.key.condition)
    body["seed"] = record.key.seed
    arrays = {"test_rows": record.test_rows}
    for name in _OUTCOMES:
        outcome: Outcome | None = getattr(record, name)
        body[name] = outcome and {"epoch": outcome.epoch, "val": dict(outcome.val), "test": dict(outcome.test)}
        if outcome:
            arrays.update({f"{name}/{metric}": values for metric, values in outcome.examples.items()})
    return json.dumps(body), _npz(arrays)


def decode(body_text: str, archive: bytes) -> Record:
    """Return the record that :func:`encode` wrote."""
    body = json.loads(body_text)
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        body |= {name: _outcome(body[name], name, arrays) for name in _OUTCOMES}
        body["test_rows"] = arrays["test_rows"]
    body["key"] = RunKey(Variant(**body.pop("variant")), Condition(**body.pop("condition")), body.pop("seed"))
    body["status"] = Status(body["status"])
    for name in ("curves", "weight_norms"):
        body[name] = {label: tuple(values) for label, values in body[name].items()}
    # Stores of before did not know it.
    body["unread"] = tuple(body.get("unread", ()))
    return Record(**body)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return what ``np.savez_compressed`` writes, compressed in a third of its time to as good a size: losses are nearly noise."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as held:
        for name, values in arrays.items():
            with held.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
    return archive.getvalue()


def _outcome(body: dict[str, Any] | None, name: str, arrays: Mapping[str, np.ndarray]) -> Outcome | None:
    if body is None:
        return None
    prefix = f"{name}/"
    return Outcome(**body, examples={metric.removeprefix(prefix): arrays[metric] for metric in arrays if metric.startswith(prefix)})
