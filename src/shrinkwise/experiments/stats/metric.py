"""The metrics that we know: which way is better, how they are written, and what kind of margin fits them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shrinkwise.errors import DataError, SettingError


@dataclass(frozen=True)
class Metric:
    """What everyone who judges or writes a metric must agree on.

    Attributes:
        name: As in the records.
        is_higher_better: Whether more of it is better; None where the name does not tell.
        is_percentage: Whether people write it in per cent and its differences in points; else both are plain numbers.
        has_relative_margin: Whether what counts as equivalent is a share of the base's value: so for losses, which know no scale
            of their own; what is 1 at its best has an absolute margin.

    >>> metric_of("accuracy").factor, metric_of("accuracy").difference_unit, metric_of("r2").factor
    (100.0, 'points', 1.0)
    """

    name: str
    is_higher_better: bool | None = None
    is_percentage: bool = False
    has_relative_margin: bool = True

    def clipped(self, low: float, high: float, *, is_difference: bool) -> tuple[float, float]:
        """Cut an interval at what the metric can be: a rate lies between 0 and 1, so a difference of two lies within ±1."""
        if not self.is_percentage:
            return low, high
        least = -1.0 if is_difference else 0.0
        return max(low, least), min(high, 1.0)

    @property
    def factor(self) -> float:
        """What a value is multiplied by before it is written."""
        return 100.0 if self.is_percentage else 1.0

    @property
    def unit(self) -> str:
        """What stands behind a value; empty where it is a plain number."""
        return "%" if self.is_percentage else ""

    @property
    def difference_unit(self) -> str:
        """What stands behind a difference; empty where it is a plain number."""
        return "points" if self.is_percentage else ""


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", is_higher_better=True, is_percentage=True, has_relative_margin=False),
        Metric("f1", is_higher_better=True, is_percentage=True, has_relative_margin=False),
        Metric("auc", is_higher_better=True, is_percentage=True, has_relative_margin=False),
        # Without a lower end, so that a percentage would mislead.
        Metric("r2", is_higher_better=True, has_relative_margin=False),
        Metric("loss", is_higher_better=False),
        Metric("rmse", is_higher_better=False),
    )
}
"""Our own metrics by name."""


RATES = frozenset(["accuracy", "acc", "f1", "auc", "auroc", "iou", "miou", "map", "precision", "recall", "top1", "top5"])
"""Words that name a share, and so does any name that contains one."""

_LOSSES = frozenset(["loss", "logloss", "nll", "deviance", "perplexity", "ppl", "bpc"])
_LESS_IS_BETTER = _LOSSES | {"error", "err", "rmse", "mse", "mae", "wer", "cer"}
_MORE_IS_BETTER = RATES | {"r2", "bleu", "rouge"}


def words_of(name: str) -> list[str]:
    """Return the words of a metric's name.

    >>> words_of("eval/top1_Accuracy")
    ['eval', 'top1', 'accuracy']
    """
    return re.findall(r"[a-z0-9]+", name.lower())


def metric_of(name: str) -> Metric:
    """Return what is known of a metric; of one that is not ours, whether it is a rate, and else only that it is a number.

    >>> metric_of("val_acc").is_percentage, metric_of("perplexity").is_percentage
    (True, False)
    """
    is_rate = not RATES.isdisjoint(words_of(name))
    return METRICS.get(name, Metric(name, is_percentage=is_rate, has_relative_margin=not is_rate))


def is_in_percent(metric: str, values: Sequence[float]) -> bool:
    """Return whether a metric is a rate that all its values write in per cent.

    Raises:
        DataError: It is a rate and some values are none, or some write it in per cent and some as a share.

    >>> is_in_percent("val_acc", [91.2, 0.0]), is_in_percent("accuracy", [0.9, 1.0]), is_in_percent("loss", [91.2])
    (True, False, False)
    """
    if RATES.isdisjoint(words_of(metric)):
        return False
    if wrong := [value for value in values if not 0 <= value <= 100]:
        raise DataError(
            f"{metric} is {wrong[0]:g}", "it is a rate, from 0 to 1 or to 100 in per cent", "mend that run, or rename it"
        )
    above = [value > 1 for value in values]
    if any(above) and any(0 < value < 1 for value in values):
        raise DataError(
            f"{metric} lies between {min(values):g} and {max(values):g}",
            "some runs seem to write it as a share and some in per cent",
            "write it one way in every run",
        )
    return any(above)


def guess_direction(metric: str) -> bool:
    """Return whether more of a well-known metric is better.

    Raises:
        SettingError: The name is not well known.

    >>> guess_direction("eval_loss"), guess_direction("val/Accuracy")
    (False, True)
    """
    words = words_of(metric)
    less, more = bool(_LESS_IS_BETTER.intersection(words)), bool(_MORE_IS_BETTER.intersection(words))
    if less == more:
        raise SettingError(
            f"whether more {metric!r} is better is not known",
            "the name does not tell",
            "say --minimize or --maximize (maximize=False or True)",
        )
    return more
