"""NumPy archives (.npz)."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from shrinkwise.errors import DataError
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.files import nearest
from shrinkwise.experiments.data.labels import Classes

_FORM = "an archive holds x and y, or x_train, y_train and, where given, x_val, y_val, x_test, y_test"


def npz(path: str | Path, classes: Classes | None = None, *, task: str | None = None) -> Dataset:
    """Read arrays from a NumPy archive.

    It holds ``x`` and ``y``, or ``x_train`` and ``y_train`` with, where given, ``x_test``, ``y_test`` and ``x_val``, ``y_val``; a
    capital X or Y does too. ``groups`` beside them names the group of each training row. Rows of bytes (uint8) are divided by 255;
    all else is taken as it is, nothing is standardised. Pickled objects are refused.

    Args:
        path: The archive.
        classes: Which classes to keep; all where None.
        task: ``classification`` or ``regression``; guessed where None.

    Raises:
        DataError: The archive cannot be read or lacks an array, or the arrays cannot carry an experiment.
        SettingError: The task is unknown, or classes are chosen for a regression.
    """
    path = Path(path)
    arrays = _read(path)
    unknown = [name for name in arrays if not re.fullmatch("[xy](_train|_val|_test)?|groups", name)]
    if unknown and ({"x", "y"} <= arrays.keys() or {"x_train", "y_train"} <= arrays.keys()):
        raise DataError(f"{path} has an array {unknown[0]}", "what it is for is not known", nearest(unknown[0], ["groups"], _FORM))
    mark = "_train" if "x_train" in arrays or "y_train" in arrays else ""
    parts = {part: (_rows(arrays, f"x{part}", path), _array(arrays, f"y{part}", path)) for part in (mark, *_given(arrays, mark))}
    return Dataset.from_arrays(
        *parts[mark],
        test=parts.get("_test"),
        val=parts.get("_val"),
        groups=arrays.get("groups"),
        name=path.stem,
        task=task,
        classes=classes,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, since np.load leaves its own file open where the archive is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                return {name[:1].lower() + name[1:]: archive[name] for name in archive.files}
        why = "it holds one bare array"
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        why = str(error).rstrip(".")
    raise DataError(
        f"{path} cannot be read as a NumPy archive", why, "write it with numpy.savez(path, x=x, y=y), numbers and words only"
    )


def _given(arrays: dict[str, np.ndarray], mark: str) -> list[str]:
    """Return the parts beside the training part of which at least one array is there."""
    return [part for part in ("_val", "_test") if mark and (f"x{part}" in arrays or f"y{part}" in arrays)]


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        unread = [key for key in arrays if not re.fullmatch("[xy](_train|_val|_test)?", key)]
        raise DataError(f"{path} has no array {name}", f"it holds {', '.join(arrays) or 'nothing'}", nearest(name, unread, _FORM))
    return arrays[name]


def _rows(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    rows = _array(arrays, name, path)
    return np.divide(rows, 255, dtype=np.float32) if rows.dtype == np.uint8 else rows
