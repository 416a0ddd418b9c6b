"""What is minimised: a metric on validation rows, read so that less is better and differences add up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shrinkwise.experiments.records import Record, Status
from shrinkwise.experiments.selection.choice import Seen
from shrinkwise.experiments.stats.margin import Margin, margin_of


@dataclass(frozen=True)
class Objective:
    """A metric to choose by.

    Attributes:
        metric: Name of a validation metric in an outcome, such as ``loss``.
        is_higher_better: Whether more of it is better.
        select: ``last`` or ``best-val``: which epoch's weights are judged.
    """

    metric: str = "loss"
    is_higher_better: bool = False
    select: str = "last"

    def see(self, record: Record) -> Seen:
        """Reduce a record to what selection needs; a metric of which more is better changes its sign."""
        value = math.nan
        if record.status is Status.DONE:
            value = record.outcome(self.select).val[self.metric]
        epochs = max((len(curve) for curve in record.curves.values()), default=0)
        is_lost = record.status is Status.DONE and not math.isfinite(value)
        return Seen(
            variant=record.key.variant,
            seed=record.key.seed,
            loss=math.nan if is_lost else self.shown(value),
            status=Status.DIVERGED if is_lost else record.status,
            is_collapsed=record.collapsed or record.status is Status.STOPPED,
            n_gradients=epochs * record.n_train,
            seconds=record.seconds,
        )

    def margin(self, given: float | None) -> Margin:
        """Return what counts as no difference: as given, in the metric's own unit for accuracy and its kin, else as a share."""
        usual = margin_of(self.metric)
        return usual if given is None else Margin(given, usual.is_relative)

    def shown(self, loss: float) -> float:
        """Return a loss as the metric's own value."""
        return -loss if self.is_higher_better else loss
