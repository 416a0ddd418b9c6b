"""How a run is trained, the same for every variant, condition and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from shrinkwise.experiments.records import Variant
from shrinkwise.regularization.rules import ApplyTo
from shrinkwise.regularization.strength.schedules import Schedule

ModelFactory = Callable[[Variant], nn.Module]
OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]


@dataclass(frozen=True)
class Recipe:
    """How a run is trained.

    Attributes:
        model: Makes the network of a variant. It may draw from torch's global generator, which is seeded for it.
        task: ``classification`` or ``regression``: which loss and which metrics.
        n_outputs: Numbers that the network gives for a row: classes, or 1.
        optimizer: Makes an optimiser from parameter groups, each with its ``weight_decay`` as ``lam``; a variant's ``lr`` takes the
            place of its learning rate.
        epochs: Passes over the training rows.
        batch_size: Rows of one step; the last batch of an epoch may be smaller, and a single row that is left joins the one before.
        unit: Unit in which a variant's ``l2`` is written.
        apply_to: ``weights`` (matrices and filters) or ``all`` (biases and every other parameter too).
        threads: Threads that torch may use in one run; part of what a record depends on.
        profile: Parameter name -> factor on the variant's strength: that parameter has ``lam`` times it, and one that is not named
            has none, whatever ``apply_to`` says. None for one strength on all that ``apply_to`` chooses.
        schedule: Factor on every strength over the steps; None for 1.
        lr_schedule: Factor on the learning rate over the steps, likewise: it sees the rate that the optimiser was made with.
        patience: Epochs without a better validation loss after which a run ends; None trains every run to its last epoch. See
            :func:`stopping.ending`.
        device: Where networks and rows live: ``cpu`` or ``cuda``.
        on_epoch: Called with its number when a run has ended an epoch, by every loop; nothing that a record tells depends on it.
    """

    model: ModelFactory
    task: str
    n_outputs: int
    optimizer: OptimizerFactory
    epochs: int
    batch_size: int
    unit: str = "half"
    apply_to: ApplyTo = "weights"
    threads: int = 1
    profile: Mapping[str, float] | None = None
    schedule: Schedule | None = None
    lr_schedule: Schedule | None = None
    patience: int | None = None
    device: str = "cpu"
    on_epoch: Callable[[int], None] | None = None
