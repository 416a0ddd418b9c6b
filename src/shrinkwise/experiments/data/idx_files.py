"""IDX files, the format of MNIST and its kin.

The format, from http://yann.lecun.com/exdb/mnist: two zero bytes, a byte for the type, a byte for the number of dimensions, each
dimension as a big-endian 32-bit integer, then the values, big-endian, the last dimension running fastest.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from shrinkwise.errors import DataError
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.files import read_contents
from shrinkwise.experiments.data.labels import Classes

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type byte -> NumPy's name of the type."""

_AGAIN = "fetch the file again"


def idx(folder: str | Path, classes: Classes | None = None) -> Dataset:
    """Read the four IDX files of a folder: training and test images and labels, each gzipped or not.

    Names are those of MNIST, such as ``train-images-idx3-ubyte.gz``; ``train-images.idx3-ubyte`` is read too.

    Args:
        folder: Where the files lie.
        classes: Which labels to keep, such as ``"0-4"`` or ``range(5)``; all where None.

    Returns:
        A data set with its given test part. Images are flattened, and bytes divided by 255: rows of MNIST have shape ``(784,)``.

    Raises:
        DataError: A file is absent, cut short or not IDX, images and labels do not match, or a class is absent.
    """
    folder = Path(folder)
    parts = {
        part: (_images(_find(folder, part, "images", 3)), _labels(_find(folder, part, "labels", 1))) for part in ("train", "t10k")
    }
    name = folder.resolve().name
    return Dataset.from_arrays(*parts["train"], test=parts["t10k"], name=name, task="classification", classes=classes)


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file, gzipped or not.

    Args:
        path: The file.

    Returns:
        Its values in the shape and type that its header states.

    Raises:
        DataError: The file cannot be read, is not IDX, or does not hold exactly as many bytes as its header states.
    """
    path = Path(path)
    data, is_whole = read_contents(path)
    if data and not (b"\0\0".startswith(data[:2]) and (len(data) < 4 or (data[2] in DTYPES and data[3] > 0))):
        raise DataError(
            f"{path} is not an IDX file", f"it starts with the bytes {data[:4].hex(' ')}", "give the files as MNIST is published"
        )
    n_dims = data[3] if len(data) >= 4 else 0
    start = 4 + 4 * n_dims
    if len(data) < start:
        raise DataError(f"{path} is cut short", f"a header of {start} bytes at least was expected, found {len(data)}", _AGAIN)
    dtype = np.dtype(DTYPES[data[2]])
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", n_dims, offset=4))
    n_expected = start + math.prod(shape) * dtype.itemsize
    if len(data) < n_expected or not is_whole:
        found = f"{n_expected} bytes were expected for shape {shape}, found {len(data)}"
        raise DataError(f"{path} is cut short", found if is_whole else f"{found} before its gzip stream broke off", _AGAIN)
    if len(data) > n_expected:
        raise DataError(f"{path} is too long", f"{n_expected} bytes were expected for shape {shape}, found {len(data)}", _AGAIN)
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(folder: Path, part: str, kind: str, n_dims: int) -> Path:
    names = [f"{part}-{kind}{dot}idx{n_dims}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder} holds no {names[1]}",
        "a folder is read as four IDX files: train-images, train-labels, t10k-images, t10k-labels",
        "give the folder that holds all four, or a .csv or .npz file",
    )


def _images(path: Path) -> np.ndarray:
    images = read_idx(path)
    if images.ndim < 2:
        raise DataError(f"{path} has shape {images.shape}", "images have at least two dimensions", "give images under this name")
    rows = images.reshape(len(images), math.prod(images.shape[1:]))
    return np.divide(rows, 255, dtype=np.float32) if images.dtype == np.uint8 else rows


def _labels(path: Path) -> np.ndarray:
    labels = read_idx(path)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise DataError(
            f"{path} holds {labels.dtype} of shape {labels.shape}",
            "labels are whole numbers, one a row",
            "give labels under this name",
        )
    return labels
