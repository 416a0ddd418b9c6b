"""What an experiment was, apart from its records: read by report, written by experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Layer:
    """One layer of a network, seen from outside.

    Attributes:
        name: Dotted name of the module, such as ``layers.0``.
        kind: Class name of the module, such as ``Linear``.
        n_in: Input features or channels; 0 where the layer has no such number. ``n_out`` likewise.
        n_parameters: Number of trainable values, biases included.
        penalised: Names of its parameters that L2 acts on.
    """

    name: str
    kind: str
    n_in: int
    n_out: int
    n_parameters: int
    penalised: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What was asked, of which data and which network.

    Attributes:
        data: Name of the data, such as ``digits 0-4``.
        task: ``classification`` or ``regression``.
        classes: Names of the classes; empty for regression.
        n_train: Training rows of one run, of the largest condition; ``n_val`` and ``n_test`` likewise (0 where unknown).
        is_resampled: Whether each seed cuts its own test rows out of one data set, so that test and training sets of seeds overlap.
        unit: Unit in which the user wrote λ; None where the runs came from elsewhere.
        decay: ``coupled`` or ``decoupled``; None where the runs came from elsewhere.
        epochs: Epochs of every run; None where the runs came from elsewhere.
        primary_metric: The metric that the verdict is about.
        select: ``last`` or ``best-val``: which epoch's weights are judged.
        margin: Half-width of what counts as equivalent, in the unit of the primary metric (0.005 = half a point of accuracy).
        is_margin_relative: Whether ``margin`` is a share of the base's value, as for losses.
        settings: Every other setting, in the order in which a page should list them: optimizer, lr, batch_size, hidden, ...
        command: The command that reproduces the experiment; empty where there is none.
        layers: The network, input to output.
        version: Version of Shrinkwise.
    """

    data: str
    task: str
    classes: tuple[str, ...]
    n_train: int
    n_val: int
    n_test: int
    is_resampled: bool
    unit: str | None
    decay: str | None
    epochs: int | None
    primary_metric: str
    select: str
    margin: float
    is_margin_relative: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    layers: tuple[Layer, ...] = ()
    version: str = ""
