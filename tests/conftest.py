"""Fixtures that several test files share."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A law is about values, and a busy machine is no counterexample.
settings.register_profile("shrinkwise", deadline=None, derandomize=True)
settings.load_profile("shrinkwise")

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encode_idx(array):
    """Write an array as IDX, independently of the reader."""
    code = IDX_CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="session", name="encode_idx")
def encode_idx_fixture():
    return encode_idx


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data beside the repository, which is not part of it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data that stand beside the repository, in ../shared/data, are absent")
    return folder


@pytest.fixture(params=["plain", "gzipped"])
def idx_folder(request, tmp_path):
    """Four tiny IDX files: 60 training and 20 test images of 4x3 pixels, labels 0 to 4, the first pixel telling the label."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        labels = (np.arange(n) % 5).astype(np.uint8)
        images = rng.integers(0, 256, size=(n, 4, 3), dtype=np.uint8)
        images[:, 0, 0] = 51 * labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = encode_idx(array)
            if request.param == "plain":
                (folder / f"{part}-{kind}-ubyte").write_bytes(data)
            else:
                (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return folder
