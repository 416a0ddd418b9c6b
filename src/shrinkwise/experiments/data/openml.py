"""Data that is fetched over the network, through scikit-learn and its cache."""

from __future__ import annotations

import http.client
import warnings

import numpy as np
from sklearn import datasets

from shrinkwise.errors import DataError
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.labels import Classes

_N_TRAIN = 60_000


def mnist(classes: Classes | None = None) -> Dataset:
    """Return MNIST from OpenML: 60,000 training and 10,000 test images of 28x28 pixels, flattened, each pixel in ``[0, 1]``.

    The first call downloads about 15 MB and keeps them in scikit-learn's data folder; later calls need no network.

    Args:
        classes: Which digits to keep, such as ``"0-4"`` or ``range(5)``; all where None.

    Returns:
        A data set with its given test part; rows have shape ``(784,)``.

    Raises:
        DataError: The network cannot be reached, or a class is asked for that is not there.
    """
    try:
        with warnings.catch_warnings():
            # Each retry is a warning of its own; what comes of them is said once, below.
            warnings.simplefilter("ignore")
            bunch = datasets.fetch_openml("mnist_784", version=1, as_frame=False)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(
            "MNIST could not be downloaded from OpenML",
            f"it is not in scikit-learn's cache, and the network gave: {error}",
            "download the four IDX files of MNIST (train-images-idx3-ubyte.gz and the like) elsewhere, put them in one folder, "
            "and give it by --data FOLDER",
        ) from error
    x = np.divide(bunch.data, 255, dtype=np.float32)
    y = np.asarray(bunch.target)
    return Dataset.from_arrays(
        x[:_N_TRAIN],
        y[:_N_TRAIN],
        test=(x[_N_TRAIN:], y[_N_TRAIN:]),
        name="mnist",
        task="classification",
        classes=classes,
    )
