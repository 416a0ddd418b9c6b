"""Data that comes with scikit-learn, so that a first experiment needs no file and no network."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.labels import Classes


def digits(classes: Classes | None = None) -> Dataset:
    """Return scikit-learn's handwritten digits: 1,797 images of 8x8 pixels, flattened, each pixel in ``[0, 1]``.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).

    Args:
        classes: Which digits to keep, such as ``"0-4"`` or ``range(5)``; all where None.

    Returns:
        A data set without a given test part; rows have shape ``(64,)``.

    Raises:
        DataError: A class is asked for that is not there.

    >>> data = digits(classes=range(5))
    >>> data.name, data.x.shape, data.classes
    ('digits 0-4', (901, 64), ('0', '1', '2', '3', '4'))
    """
    bunch = load_digits()
    return Dataset.from_arrays(
        (bunch.data / 16).astype(np.float32), bunch.target, name="digits", task="classification", classes=classes
    )
