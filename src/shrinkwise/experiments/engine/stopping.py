"""When a run ends before its last epoch, and how: the same for every loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shrinkwise.experiments.records import STOPPED, Status

_EPOCHS_BEFORE_COLLAPSE = 10
_SHARE_OF_CONSTANT = 0.95

Ending = tuple[Status, str]
"""How a run ended, and why in words; no words for one that was trained to its last epoch."""


def ending(curves: Mapping[str, Sequence[float]], constant_loss: float, patience: int | None) -> Ending | None:
    """Say how a run ends after its latest epoch, where it does.

    * A loss that is not finite ends every run: it *diverged*.
    * Where there is a patience, a run whose validation loss was not below its least for so many epochs ends, and one whose
      training loss, over ten epochs and over as many as the patience has, was never more than 5 % under the best constant
      predictor's: its network learned nothing. Both are done: they have weights to be judged.

    Args:
        curves: ``train_loss`` and ``val_loss``, a value for each epoch so far.
        constant_loss: Training loss of the best constant predictor.
        patience: Epochs to wait for a better validation loss; None to wait for ever.

    >>> ending({"train_loss": [1.0, 0.9, 0.8], "val_loss": [1.0, 1.1, 1.2]}, 2.0, patience=2)
    (<Status.DONE: 'done'>, 'stopped after epoch 3: no better validation loss in 2 epochs')
    """
    train, val = curves["train_loss"], curves["val_loss"]
    epoch = len(train)
    if not (math.isfinite(train[-1]) and math.isfinite(val[-1])):
        return Status.DIVERGED, f"the loss stopped being a finite number in epoch {epoch}"
    if patience is None:
        return None
    if epoch > patience and min(val[-patience:]) >= min(val[:-patience]):
        return Status.DONE, f"{STOPPED}{epoch}: no better validation loss in {patience} epoch{'s' if patience > 1 else ''}"
    if epoch >= max(patience, _EPOCHS_BEFORE_COLLAPSE) and min(train) >= _SHARE_OF_CONSTANT * constant_loss:
        return Status.DONE, f"{STOPPED}{epoch}: the network has learned nothing"
    return None
