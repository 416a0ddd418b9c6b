"""One data set, whatever it came from: rows, target, the parts that were given, and a fingerprint of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data.arrays import (
    Part,
    Rows,
    as_array,
    as_groups,
    as_rows,
    as_targets,
    check_alike,
    check_lengths,
    check_part,
)
from shrinkwise.experiments.data.labels import (
    Classes,
    check_labels,
    check_task,
    choose_classes,
    describe_classes,
    guess_task,
    index_labels,
    name_classes,
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows with a target, ready to be cut into training, validation and test rows.

    Made by :meth:`from_arrays` or by one of the sources.

    Attributes:
        name: What a page calls it, such as ``digits 0-4``.
        task: ``classification`` or ``regression``.
        classes: Names of the classes in the order of their indices; empty for regression.
        x: float32 array ``(n, ...)``, or a table whose columns are float64 or words; a table becomes numbers after the split.
        y: Class indices, int64, or targets, float64, shape ``(n,)``.
        test: A test part that was given, which stays as it is; None where each seed cuts its own.
        val: A validation part that was given, likewise.
        groups: Index of each row's group, shape ``(n,)``; rows of one group never come to be on two sides of a split.
        task_note: Where the task was guessed, the sentence that says so and why; else empty.

    Raises:
        DataError: The rows cannot carry an experiment: not finite, unequal lengths, one class only.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    x: Rows
    y: np.ndarray
    test: Part | None = None
    val: Part | None = None
    groups: npt.NDArray[np.int64] | None = None
    task_note: str = ""

    def __post_init__(self) -> None:
        check_task(self.task)
        for part, (x, y) in self._parts().items():
            check_part(part, x, y)
            check_alike(part, x, self.x)
        if self.val is not None and self.test is None:
            raise DataError(
                f"{self.name} has a validation part and no test part",
                "test rows would have to be taken from training rows alone, and the two parts would no longer be alike",
                "give a test part too, or neither",
            )
        if len(np.unique(self.y)) < 2:
            what = "class" if self.task == "classification" else "value"
            raise DataError(
                f"the target of {self.name} has one {what} only", "there is nothing to tell apart", "give rows of two at least"
            )

    @property
    def is_tabular(self) -> bool:
        """Whether the rows are a table that becomes numbers only after the split."""
        return isinstance(self.x, pd.DataFrame)

    @property
    def is_task_guessed(self) -> bool:
        """Whether nobody said what the task is."""
        return bool(self.task_note)

    @property
    def is_resampled(self) -> bool:
        """Whether each seed cuts its own test rows, so that those of two seeds overlap."""
        return self.test is None

    @property
    def n_features(self) -> int | None:
        """Numbers that a network sees of one row, its axes flattened; None for a table, where each split's training rows decide."""
        return None if isinstance(self.x, pd.DataFrame) else int(np.prod(self.x.shape[1:]))

    @property
    def n_outputs(self) -> int:
        """Numbers that a network gives for one row: one a class, or one."""
        return len(self.classes) if self.task == "classification" else 1

    def fingerprint(self) -> str:
        """Hash everything that a run could depend on, the name apart: equal where and only where the contents are.

        Returns:
            SHA-256 in hexadecimal.
        """
        digest = hashlib.sha256(json.dumps([self.task, self.classes]).encode())
        for part, (x, y) in self._parts().items():
            digest.update(part.encode())
            _feed(digest, x)
            _feed(digest, y)
        if self.groups is not None:
            _feed(digest, self.groups)
        return digest.hexdigest()

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        test: tuple[Any, Any] | None = None,
        val: tuple[Any, Any] | None = None,
        groups: Any = None,
        name: str = "arrays",
        task: str | None = None,
        classes: Classes | None = None,
    ) -> Dataset:
        """Make a data set of arrays, tensors or a DataFrame.

        Values of arrays and tensors are taken as they are: nothing is scaled or standardised. Only a DataFrame is, after the split.

        Args:
            x: Rows, shape ``(n, ...)``: numbers that NumPy can read, a torch tensor, or a DataFrame.
            y: Target, shape ``(n,)``: class labels of any kind, or numbers.
            test: Rows and target of a test part that stays as it is.
            val: Rows and target of a validation part, likewise; only together with ``test``.
            groups: The group of each row, shape ``(n,)``, labels of any kind.
            name: What a page calls the data.
            task: ``classification`` or ``regression``; guessed where None, and the guess is said in ``task_note``.
            classes: Which classes to keep, such as ``"0-4"`` or ``range(5)``; all where None.

        Raises:
            DataError: The arrays cannot carry an experiment.
            SettingError: The task is unknown, or classes are chosen for a regression.

        >>> data = Dataset.from_arrays(np.eye(6), [3, 3, 5, 5, 7, 7], classes="3,7")
        >>> data.classes, data.y, data.x.shape, data.is_task_guessed
        (('3', '7'), array([0, 0, 1, 1]), (4, 6), True)
        """
        given = {"training": (x, y), "validation": val, "test": test}
        raw = {part: (as_rows(pair[0]), as_array(pair[1])) for part, pair in given.items() if pair is not None}
        for part, (rows, target) in raw.items():
            check_labels(target, f"target of the {part} part")
            check_lengths(part, rows, target)
        codes = None if groups is None else as_groups(groups)
        if codes is not None and len(codes) != len(raw["training"][1]):
            fact = f"groups name {len(codes)} rows"
            raise DataError(fact, f"the training part has {len(raw['training'][1])}", "name the group of each row")
        task, note = guess_task(raw["training"][1]) if task is None else (task, "")
        check_task(task)
        if task == "classification":
            return cls._classification(name, raw, codes, classes, note)
        if classes is not None:
            mend = "leave classes out, or set task to classification"
            raise SettingError("classes are chosen for a regression", "its target has no classes", mend)
        parts = {part: (rows, as_targets(target)) for part, (rows, target) in raw.items()}
        return cls(name, task, (), *parts["training"], parts.get("test"), parts.get("validation"), codes, note)

    @classmethod
    def _classification(
        cls, name: str, raw: Mapping[str, Part], groups: npt.NDArray[np.int64] | None, classes: Classes | None, note: str
    ) -> Dataset:
        """Number the labels of each part by the chosen classes, and leave out the rows of others."""
        known, _ = name_classes(raw["training"][1])
        chosen = choose_classes(known, classes)
        codes = {part: index_labels(target, known, chosen, part) for part, (_, target) in raw.items()}
        if classes is None:
            parts = {part: (rows, codes[part]) for part, (rows, _) in raw.items()}
        else:
            name = f"{name} {describe_classes(chosen)}"
            parts = {part: (rows[codes[part] >= 0], codes[part][codes[part] >= 0]) for part, (rows, _) in raw.items()}
            groups = None if groups is None else groups[codes["training"] >= 0]
        return cls(name, "classification", chosen, *parts["training"], parts.get("test"), parts.get("validation"), groups, note)

    def _parts(self) -> dict[str, Part]:
        parts = {"training": (self.x, self.y), "validation": self.val, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def _feed(digest: Any, values: Rows | np.ndarray) -> None:
    """Hash an array or a table; a table column by column, so that the hash does not depend on how pandas stores words."""
    if isinstance(values, np.ndarray):
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
        return
    for name, column in values.items():
        digest.update(json.dumps([name, column.dtype.kind]).encode())
        if column.dtype.kind == "f":
            digest.update(column.to_numpy().tobytes())
        else:
            digest.update(json.dumps([None if pd.isna(word) else word for word in column]).encode())
