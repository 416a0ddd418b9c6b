"""Digits, IDX, npz, OpenML, and the name that leads to each; tables have a file of their own."""

import gzip
import hashlib
import warnings
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data import digits, idx, load, mnist, npz, read_idx

IMAGES = "train-images-idx3-ubyte"


def test_digits_are_scaled_and_need_no_guess():
    data = digits()
    assert (data.name, data.x.shape, len(data.classes)) == ("digits", (1797, 64), 10)
    assert (data.x.min(), data.x.max(), data.is_task_guessed, data.is_resampled) == (0, 1, False, True)


@given(
    array=st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, max_side=4))
    ),
    is_gzipped=st.booleans(),
)
def test_read_idx_gives_back_any_array(array, is_gzipped, encode_idx, tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / "file"
    data = encode_idx(array)
    path.write_bytes(gzip.compress(data, compresslevel=1) if is_gzipped else data)
    read = read_idx(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_idx_folder_is_read_with_its_own_test_part(idx_folder):
    data = idx(idx_folder)
    assert (data.name, data.classes, data.is_resampled) == ("tiny", ("0", "1", "2", "3", "4"), False)
    assert (data.x.shape, data.test[0].shape) == ((60, 12), (20, 12))
    np.testing.assert_allclose(data.x[:, 0], data.y / 5)
    np.testing.assert_allclose(data.test[0][:, 0], data.test[1] / 5)


def test_idx_classes_are_chosen_in_both_parts(idx_folder):
    data = load(idx_folder, classes="1,3")
    assert (data.name, data.classes, len(data.y), len(data.test[1])) == ("tiny 1,3", ("1", "3"), 24, 8)
    np.testing.assert_allclose(data.test[0][:, 0], np.where(data.test[1] == 0, 0.2, 0.6), rtol=1e-6)


def test_idx_files_with_a_dot_in_their_names_are_the_same(idx_folder):
    before = idx(idx_folder).fingerprint()
    for path in list(idx_folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert idx(idx_folder).fingerprint() == before


TINY = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:-1], "is cut short: 40 bytes were expected for shape (2, 4, 3), found 39"),
        (lambda data: data[:10], "is cut short: a header of 16 bytes at least was expected, found 10"),
        (lambda data: data[:3], "is cut short"),
        (lambda data: b"", "is cut short"),
        (lambda data: data + b"\0", "is too long: 40 bytes were expected for shape (2, 4, 3), found 41"),
        (lambda data: b"PK" + data[2:], "is not an IDX file: it starts with the bytes 50 4b 08 03"),
        (lambda data: data[:2] + b"\x0a" + data[3:], "is not an IDX file"),
        (lambda data: data[:3] + b"\0" + data[4:], "is not an IDX file"),
        (lambda data: b"hello, this is no image", "is not an IDX file"),
        (lambda data: gzip.compress(data)[:-12], "before its gzip stream broke off"),
        (lambda data: gzip.compress(data)[:-4], "found 40 before its gzip stream broke off"),
        (lambda data: gzip.compress(data)[:-5] + b"\xff" * 5, "cannot be unpacked"),
        (lambda data: b"\x1f\x8bnonsense", "cannot be unpacked"),
    ],
)
def test_damaged_idx_files_are_refused(change, says, encode_idx, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(change(encode_idx(TINY)))
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert says in str(caught.value)


def test_idx_folder_with_a_file_too_few_says_which(idx_folder):
    next(path for path in idx_folder.iterdir() if "t10k-labels" in path.name).unlink()
    with pytest.raises(DataError, match=r"holds no t10k-labels-idx1-ubyte\.gz"):
        idx(idx_folder)


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        (IMAGES, TINY, "2 rows and 60 targets"),
        (IMAGES, np.zeros((0, 4, 3), np.uint8), "0 rows and 60 targets"),
        (IMAGES, np.zeros(60, np.uint8), "images have at least two dimensions"),
        ("train-labels-idx1-ubyte", np.zeros((60, 2), np.uint8), "labels are whole numbers"),
        ("train-labels-idx1-ubyte", np.full(60, 3, np.uint8), "the test part has the class 0, 1, 2, 4"),
    ],
)
def test_idx_files_that_do_not_match_are_refused(name, array, says, idx_folder, encode_idx):
    (idx_folder / name).write_bytes(encode_idx(array))
    with pytest.raises(DataError) as caught:
        idx(idx_folder)
    assert says in str(caught.value)


def test_real_mnist_has_the_published_counts(shared_data):
    published = "f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert hashlib.md5((shared_data / "mnist" / f"{IMAGES}.gz").read_bytes()).hexdigest() == published
    data = load(str(shared_data / "mnist"), classes="0-4")
    assert (data.name, data.x.shape, data.test[0].shape) == ("mnist 0-4", (30596, 784), (5139, 784))
    assert (data.x.min(), data.x.max()) == (0, 1)


ARRAYS = {"x": np.eye(8, dtype=np.float32), "y": np.array([0, 1] * 4)}


def _parts(*parts):
    return {f"{name}_{part}": array for part in parts for name, array in ARRAYS.items()}


@pytest.mark.parametrize("arrays", [ARRAYS, {"X": ARRAYS["x"], "y": ARRAYS["y"]}, _parts("train")], ids=["x", "X", "train"])
def test_npz_without_a_test_part_is_read_under_each_spelling(arrays, tmp_path):
    np.savez(tmp_path / "rows.npz", **arrays)
    data = npz(tmp_path / "rows.npz")
    assert (data.name, data.test, data.is_task_guessed) == ("rows", None, True)
    np.testing.assert_array_equal(data.x, ARRAYS["x"])


def test_npz_gives_its_parts_and_groups(tmp_path):
    np.savez_compressed(tmp_path / "rows.npz", **_parts("train", "val", "test"), groups=np.arange(8))
    data = load(tmp_path / "rows.npz", classes="0,1", task="classification")
    assert len(data.val[1]) == len(data.test[1]) == len(data.groups) == 8


def test_npz_bytes_become_fractions_and_numbers_stay(tmp_path):
    values = np.arange(0, 256, 32, dtype=np.uint8)[:, None]
    for dtype, factor in ((np.uint8, 255), (np.float64, 1), (np.int16, 1)):
        np.savez(
            tmp_path / "rows.npz",
            x_train=values.astype(dtype),
            x_test=values.astype(dtype),
            y_train=ARRAYS["y"],
            y_test=ARRAYS["y"],
        )
        data = npz(tmp_path / "rows.npz")
        np.testing.assert_allclose(data.x, values / factor, rtol=1e-6)
        np.testing.assert_allclose(data.test[0], values / factor, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": ARRAYS["x"]}, "has no array y: it holds x. An archive holds"),
        ({"images": ARRAYS["x"], "labels": ARRAYS["y"]}, "has no array x: it holds images, labels"),
        ({"x_train": ARRAYS["x"], "y_trian": ARRAYS["y"]}, "Did you mean 'y_trian'?"),
        (_parts("train") | {"x_test": ARRAYS["x"]}, "has no array y_test"),
        (_parts("train") | {"y_val": ARRAYS["y"]}, "has no array x_val"),
        (_parts("train", "val"), "a validation part and no test part"),
        ({"x": np.array([{}] * 8, dtype=object), "y": ARRAYS["y"]}, "cannot be read as a NumPy archive"),
    ],
)
def test_npz_that_lacks_an_array_is_refused(arrays, says, tmp_path):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(DataError) as caught:
        npz(tmp_path / "rows.npz")
    assert says in str(caught.value)


@pytest.mark.parametrize("n_bytes", [0, 3, 200, -1])
def test_npz_cut_short_is_refused(n_bytes, tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(DataError, match="cannot be read as a NumPy archive"):
        npz(path)


def test_npz_that_is_one_bare_array_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", ARRAYS["x"])
    (tmp_path / "rows.npy").rename(tmp_path / "rows.npz")
    with pytest.raises(DataError, match="one bare array"):
        npz(tmp_path / "rows.npz")


def test_mnist_without_a_network_says_what_to_do(monkeypatch):
    def fetch(*_, **__):
        warnings.warn("A network error occurred. Retrying...", UserWarning, stacklevel=1)
        raise URLError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(DataError) as caught:
        mnist()
    assert "Name or service not known" in str(caught.value)
    assert "--data FOLDER" in caught.value.mend


def test_mnist_parts_are_the_first_60000_and_the_last_10000(monkeypatch):
    asked = []

    def fetch(*arguments, **settings):
        asked.append((arguments, settings))
        labels = np.arange(70_000) % 10
        return SimpleNamespace(
            data=np.stack([labels, np.arange(70_000) >= 60_000], axis=1) * 51, target=labels.astype(str).astype(object)
        )

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    data = load("mnist", classes="0-4")
    assert asked == [(("mnist_784",), {"version": 1, "as_frame": False})]
    assert (data.name, data.x.shape, data.test[0].shape) == ("mnist 0-4", (30_000, 2), (5_000, 2))
    np.testing.assert_allclose(data.x[:, 0], data.y / 5, rtol=1e-6)
    assert data.x[:, 1].max() == 0
    assert data.test[0][:, 1].min() > 0


def test_load_says_what_it_knows(tmp_path, idx_folder):
    (tmp_path / "rows.parquet").write_text("")
    for source, says in (
        ("digit", "Did you mean 'digits'?"),
        ("no/such/thing.csv", "a folder of IDX files, or a file that ends in"),
        (tmp_path / "rows.parquet", "is of no kind that is read"),
        (tmp_path, "holds no train-images"),
    ):
        with pytest.raises(DataError) as caught:
            load(source)
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("source", "settings", "says"),
    [
        ("digits", {"target": "y"}, "target given for the digits data"),
        ("digits", {"header": False, "groups": "g"}, "groups and no_header given for the digits data"),
        ("mnist", {"target": 0}, "target given for the mnist data"),
        ("digits", {"task": "regression"}, "task is regression for the digits data"),
        ("digits", {"task": "ranking"}, "task is 'ranking'"),
        ("rows.npz", {"target": "y"}, "target given for an .npz archive"),
        ("rows.csv", {}, "no target is named"),
    ],
)
def test_load_refuses_settings_that_do_not_apply(source, settings, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", **ARRAYS)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingError) as caught:
        load(source, **settings)
    assert says in str(caught.value)


def test_load_refuses_table_settings_for_a_folder(idx_folder):
    with pytest.raises(SettingError, match="target given for a folder of IDX files"):
        load(idx_folder, target="y")
    assert load(idx_folder, task="classification").fingerprint() == idx(idx_folder).fingerprint()
