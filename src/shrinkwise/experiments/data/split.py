"""Cuts a data set into training, validation and test rows, for one condition and one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data.arrays import Rows
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.partition import Indices, nested_order, partition, partition_groups
from shrinkwise.experiments.data.prepare import prepare
from shrinkwise.experiments.records import Condition
from shrinkwise.seeding import numpy_generator

_HELD_SHARE = 0.2
_MOST_VAL = 5_000

Floats = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Split:
    """What one run trains on, chooses by and is judged on.

    Attributes:
        x_train: Training rows, float32, shape ``(n_train, ...)``; ``x_val`` and ``x_test`` likewise.
        y_train: Class indices, int64, or standardised targets, float32, shape ``(n_train,)``. Label noise is in it.
        y_val: Likewise for validation rows, without noise; ``y_test`` likewise.
        train_rows: Which rows of the data set the training rows are, in the order of ``x_train``.
        val_rows: Likewise; rows of the given validation part where there is one.
        test_rows: Likewise; rows of the given test part where there is one.
        y_mean: What was subtracted from a regression's targets; 0 for classes.
        y_scale: What they were then divided by, so that an error times ``y_scale`` is in the target's own unit; 1 for classes.
    """

    x_train: Floats
    y_train: Targets
    x_val: Floats
    y_val: Targets
    x_test: Floats
    y_test: Targets
    train_rows: Indices
    val_rows: Indices
    test_rows: Indices
    y_mean: float = 0.0
    y_scale: float = 1.0


def cut(dataset: Dataset, condition: Condition, seed: int) -> Split:
    """Cut a data set for one condition and one seed.

    Without a given test part, 60 % of the rows are for training, 20 % for validation and 20 % for test. With one, it stays as it
    is, and validation takes 20 % of the training part, 5,000 rows at most; with a given validation part, nothing is cut. Every
    class is on every side, and rows of one group are on one. What is held out depends on the seed alone, so all conditions of a
    seed share it. Training rows have a stratified random order of which a condition takes the beginning: a smaller training set
    lies within each larger one.

    Label noise draws a share of the training labels anew, uniformly over the classes, the right one among them. Which labels, and
    what they become, depends on row and seed alone: the noise at 10 % lies within that at 20 %. Validation and test labels stay
    clean.

    A table is turned into numbers, and a regression's target standardised, by what the training rows of the condition say.

    Args:
        dataset: The rows.
        condition: Number of training rows and share of label noise.
        seed: Seed of the run; any integer.

    Raises:
        DataError: There are too few rows, classes or groups for this condition.
        SettingError: The condition is out of range, or asks for label noise in a regression.

    >>> from shrinkwise.experiments.data.bundled import digits
    >>> split = cut(digits("0-4"), Condition(label_noise=0.2), seed=0)
    >>> len(split.y_train), len(split.y_val), len(split.y_test)
    (541, 180, 180)
    """
    train, val, test = choose_rows(dataset, condition, seed)
    x_val, y_val = (dataset.x, dataset.y) if dataset.val is None else dataset.val
    x_test, y_test = (dataset.x, dataset.y) if dataset.test is None else dataset.test
    xs = _as_numbers(_take(dataset.x, train), _take(x_val, val), _take(x_test, test))
    ys = (dataset.y[train], y_val[val], y_test[test])
    if dataset.task == "classification":
        noisy = _with_noise(dataset, condition.label_noise, seed)[train]
        return Split(xs[0], noisy, xs[1], ys[1], xs[2], ys[2], train, val, test)
    mean, scale = float(ys[0].mean()), float(ys[0].std()) if np.ptp(ys[0]) else 1.0
    y = [((part - mean) / scale).astype(np.float32) for part in ys]
    return Split(xs[0], y[0], xs[1], y[1], xs[2], y[2], train, val, test, mean, scale)


def choose_rows(dataset: Dataset, condition: Condition, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return which rows are for training, validation and test, without touching them: what :func:`cut` takes, and cheap to check.

    Raises:
        DataError: There are too few rows, classes or groups for this condition.
        SettingError: The condition is out of range, or asks for label noise in a regression.
    """
    _check_condition(dataset, condition)
    train, val, test = _partition(dataset, numpy_generator("split", seed))
    return train[: _train_size(dataset, condition, len(train))], val, test


def _check_condition(dataset: Dataset, condition: Condition) -> None:
    if not 0 <= condition.label_noise <= 1:
        raise SettingError(
            f"label_noise is {condition.label_noise}", "it is a share of the training labels", "give a number from 0 to 1"
        )
    if condition.label_noise and dataset.task == "regression":
        raise SettingError(
            f"label_noise is {condition.label_noise}", "a regression has no labels to draw anew", "leave label_noise out"
        )
    if condition.train_size is not None and condition.train_size < 1:
        raise SettingError(f"train_size is {condition.train_size}", "it is a number of rows", "give 1 or more")


def _partition(dataset: Dataset, rng: np.random.Generator) -> tuple[Indices, Indices, Indices]:
    """Return training rows in their nested order, validation rows and test rows."""
    n = len(dataset.y)
    n_fifth = int(n * _HELD_SHARE + 0.5)
    n_held = [] if dataset.val is not None else [min(n_fifth, _MOST_VAL)]
    if dataset.test is None:
        n_held = [n_fifth, n_fifth]
    if dataset.task == "classification":
        strata, names = dataset.y, [f"class {name}" for name in dataset.classes]
    else:
        strata, names = np.zeros(n, dtype=np.int64), [dataset.name]
    if dataset.groups is None:
        *held, train = partition(strata, n_held, rng, names)
    else:
        *held, train = partition_groups(strata, dataset.groups, n_held, rng, names)
    test = held.pop(0) if dataset.test is None else np.arange(len(dataset.test[1]))
    val = held.pop(0) if dataset.val is None else np.arange(len(dataset.val[1]))
    return nested_order(train, strata[train], rng), val, test


def _train_size(dataset: Dataset, condition: Condition, n_train: int) -> int:
    size = n_train if condition.train_size is None else condition.train_size
    if size > n_train:
        raise DataError(
            f"{size} training rows were asked for",
            f"{dataset.name} gives {n_train} when validation and test rows are taken out",
            f"ask for {n_train} at most",
        )
    least = max(len(dataset.classes), 2)
    if size < least:
        why = f"there are {least} classes, and each needs one" if dataset.classes else "a spread needs two"
        raise DataError(
            f"{size} training row{'s' * (size != 1)} cannot carry the experiment", why, f"train on {least} rows at least"
        )
    return size


def _take(x: Rows, rows: Indices) -> Rows:
    return x.iloc[rows] if isinstance(x, pd.DataFrame) else x[rows]


def _as_numbers(train: Rows, *others: Rows) -> list[Floats]:
    if isinstance(train, pd.DataFrame):
        return prepare(train, *(part for part in others if isinstance(part, pd.DataFrame)))
    return [train, *(part for part in others if isinstance(part, np.ndarray))]


def _with_noise(dataset: Dataset, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Return the labels of all rows of the training part, that share of them drawn anew."""
    rng = numpy_generator("label_noise", seed)
    is_drawn = rng.random(len(dataset.y)) < share
    drawn = rng.integers(len(dataset.classes), size=len(dataset.y))
    return np.where(is_drawn, drawn, dataset.y)
