"""The words of the experiments wing: frozen dataclasses that every room of it speaks.

``lam`` is always the strength in the package's one unit, mean loss + (lam/2)·Σw²; a variant's settings keep the unit that the
user wrote.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

Setting = float | int | str | bool
"""What one setting of a variant can be."""


class Variant(Mapping[str, Setting]):
    """One configuration under comparison: a frozen, hashable mapping whose order of keys does not matter.

    >>> variant = Variant(l2=0.01, dropout=0.5)
    >>> variant["l2"], variant.name, Variant(l2=0.0, dropout=0).name
    (0.01, 'l2=0.01 + dropout=0.5', 'base')
    >>> variant == Variant(dropout=0.5, l2=0.01)
    True
    """

    def __init__(self, /, **settings: Setting) -> None:
        self._settings = dict(settings)
        self._name = " + ".join(f"{name}={short(value)}" for name, value in settings.items() if value) or "base"

    def spelled_out(self) -> Variant:
        """Return the same variant under a name that says every setting, for a table in which it is not the base.

        >>> Variant(l2=0, dropout=0).spelled_out().name
        'l2=0 + dropout=0'
        """
        same = Variant(**self._settings)
        same._name = " + ".join(f"{name}={short(value)}" for name, value in self._settings.items())
        return same

    def __getitem__(self, name: str) -> Setting:
        return self._settings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variant) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(frozenset(self._settings.items()))

    def __repr__(self) -> str:
        return f"Variant({', '.join(f'{name}={value!r}' for name, value in self._settings.items())})"

    @property
    def is_base(self) -> bool:
        """Whether nothing is switched on: every setting is zero or false."""
        return not any(self._settings.values())

    @property
    def name(self) -> str:
        """The settings that are switched on, as people write them; ``base`` where none is."""
        return self._name


@dataclass(frozen=True)
class Condition:
    """What the data are like; variants are compared within one condition.

    Attributes:
        train_size: Number of training rows, or None for all that the split gives.
        label_noise: Share of the training labels drawn anew, uniformly over the classes, in ``[0, 1]``.
        label: Any other name of the condition, for runs that were made elsewhere.
    """

    train_size: int | None = None
    label_noise: float = 0.0
    label: str = ""

    @property
    def name(self) -> str:
        """The condition in words.

        >>> Condition(500, 0.2).name, Condition().name
        ('500 training rows and 20 % label noise', 'clean labels')
        """
        if self.label:
            return self.label
        size = "" if self.train_size is None else f"{self.train_size:,} training rows and "
        noise = f"{100 * self.label_noise:g} % label noise" if self.label_noise else "clean labels"
        return size + noise


ALL_RUNS = Condition(label="all runs")
"""The one condition of runs that were made elsewhere and are not told apart."""


@dataclass(frozen=True)
class RunKey:
    """Names one run: variant × condition × seed."""

    variant: Variant
    condition: Condition
    seed: int


class Status(enum.StrEnum):
    """How a run ended."""

    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"
    STOPPED = "stopped"


STOPPED = "stopped after epoch "
"""How the message of a run begins that is done before its last epoch; the epoch, a colon and the reason follow."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one set of weights, those after ``epoch``, gives on validation and test rows.

    Attributes:
        epoch: Number of epochs trained when the weights were taken, from 1.
        val: Metric name -> value on the validation rows.
        test: Metric name -> value on the test rows.
        examples: Metric name -> that metric on each test row, shape ``(n_test,)``, for metrics that are means over rows.
    """

    epoch: int
    val: Mapping[str, float]
    test: Mapping[str, float]
    examples: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Record:
    """What one run leaves.

    Attributes:
        key: Which run it is.
        status: How it ended.
        lam: Strength of L2 in the package's one unit.
        n_train: Training rows; ``n_val`` and ``n_test`` likewise.
        curves: ``train_loss``, ``val_loss``, ``val_accuracy``, ... -> a value after each epoch. Training loss is without
            the penalty and without dropout.
        weight_norms: Layer name -> Euclidean norm of its weight matrix or filter after each epoch; the first entry is at the start.
        constant_loss: Training loss of the best constant predictor.
        last: Outcome of the last epoch's weights; None unless the run is done.
        best_val: Outcome of the weights of the epoch with the least validation loss; None unless the run is done, and where only
            the end of a run is known.
        test_rows: Which rows of the data set the test rows are, shape ``(n_test,)``, in the order of an outcome's examples.
        seconds: Wall time.
        threads: Threads that the run was allowed.
        message: What went wrong, where something did; or why the run was done before its last epoch.
        unread: Settings of the variant that a training function did not read; empty where a network is made of them.
        has_collapsed: Whether a training function's own trial saw that nothing was learned; None where a network is ours.
        n_steps: Optimiser steps that were taken when the run ended, in whatever way; 0 where they are not known.
    """

    key: RunKey
    status: Status
    lam: float
    n_train: int
    n_val: int
    n_test: int
    curves: Mapping[str, tuple[float, ...]]
    weight_norms: Mapping[str, tuple[float, ...]]
    constant_loss: float
    last: Outcome | None
    best_val: Outcome | None
    test_rows: np.ndarray
    seconds: float
    threads: int
    message: str = ""
    unread: tuple[str, ...] = ()
    has_collapsed: bool | None = None
    n_steps: int = 0

    @property
    def collapsed(self) -> bool:
        """Whether the training loss ended within 5 % of the best constant predictor's: the network learned nothing.

        Of a training function only its trial can tell: a validation loss that was low once and is high at the end has overfitted.
        """
        if self.has_collapsed is not None:
            return self.status is Status.DONE and self.has_collapsed
        curve = self.curves.get("train_loss") or self.curves.get("val_reported") or ()
        return self.status is Status.DONE and bool(curve) and curve[-1] >= 0.95 * self.constant_loss

    def outcome(self, select: str) -> Outcome:
        """Return the outcome that ``select`` names: ``last`` or ``best-val``."""
        chosen = {"last": self.last, "best-val": self.best_val}[select]
        if chosen is None:
            raise ValueError(f"a run that is {self.status.value} has no outcome")
        return chosen

    def weight_norm(self) -> float:
        """Return the Euclidean norm of all weight matrices and filters together at the end; NaN where none was seen."""
        ends = [norms[-1] for norms in self.weight_norms.values()]
        return float(np.linalg.norm(ends)) if ends else float("nan")

    def fingerprint(self) -> str:
        """Hash everything but times: two runs are the same bit for bit where this agrees."""
        digest = hashlib.sha256()
        _feed(digest, {f.name: getattr(self, f.name) for f in fields(self) if f.name != "seconds"})
        return digest.hexdigest()


def short(value: Setting) -> str:
    """Write a setting as briefly as can be read back without loss.

    >>> short(0.1), short(0.1000000001), short(1e6), short("adam")
    ('0.1', '0.1000000001', '1000000', 'adam')
    """
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    brief = f"{value:g}"
    return brief if float(brief) == value else repr(value)


def _feed(digest: Any, value: object) -> None:
    """Hash a nest of dataclasses, mappings, sequences, arrays and scalars; mappings by sorted key."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value):
            digest.update(b"/" + name.encode())
            _feed(digest, value[name])
    elif isinstance(value, tuple):
        for item in value:
            digest.update(b",")
            _feed(digest, item)
    elif hasattr(value, "__dataclass_fields__"):
        _feed(digest, {f.name: getattr(value, f.name) for f in fields(value)})  # type: ignore[arg-type]
    elif isinstance(value, float):
        digest.update(value.hex().encode())
    else:
        digest.update(json.dumps(value).encode())
