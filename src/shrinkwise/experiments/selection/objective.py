"""What is minimised: a metric on validation rows, read so that less is better and differences add up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shrinkwise.experiments.records import Record, Status
from shrinkwise.experiments.selection.choice import Seen


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
        return Seen(
            variant=record.key.variant,
            seed=record.key.seed,
            loss=-value if self.is_higher_better else value,
            status=record.status if math.isfinite(value) or record.status is not Status.DONE else Status.DIVERGED,
            is_collapsed=record.collapsed,
            n_gradients=epochs * record.n_train,
            seconds=record.seconds,
        )

    def shown(self, loss: float) -> float:
        """Return a loss as the metric's own value."""
        return -loss if self.is_higher_better else loss
