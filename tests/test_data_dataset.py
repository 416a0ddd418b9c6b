"""What a data set takes, refuses, guesses and remembers."""

import numpy as np
import pandas as pd
import pytest
import torch

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data import Dataset, as_dataset, parse_classes

X = np.arange(24.0).reshape(8, 3)
Y = np.array([0, 1] * 4)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, Y),
        (X.tolist(), Y.tolist()),
        (torch.tensor(X, dtype=torch.float64), torch.tensor(Y)),
        (torch.tensor(X, dtype=torch.float32, requires_grad=True), torch.tensor(Y, dtype=torch.int32)),
    ],
    ids=["arrays", "lists", "tensors", "tensors that want gradients"],
)
def test_from_arrays_takes_arrays_and_tensors(x, y):
    data = Dataset.from_arrays(x, y)
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int64
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.fingerprint() == Dataset.from_arrays(X, Y).fingerprint()


def test_from_arrays_keeps_the_shape_and_values_of_images():
    images = np.random.default_rng(0).integers(0, 256, size=(8, 2, 4, 4), dtype=np.uint8)
    data = Dataset.from_arrays(torch.from_numpy(images), Y)
    np.testing.assert_array_equal(data.x, images)


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        ([3, 1, 3, 1, 1, 3, 1, 3], "classification", ("1", "3")),
        (["R", "M"] * 4, "classification", ("M", "R")),
        ([10, 9, 2, 10, 9, 2, 10, 9], "classification", ("2", "9", "10")),
        ([0.0, 1.0] * 4, "classification", ("0", "1")),
        ([True, False] * 4, "classification", ("False", "True")),
        ([0.5, 1, 2, 3, 4, 5, 6, 7], "regression", ()),
    ],
)
def test_task_is_guessed_and_the_guess_is_said(y, task, classes):
    data = Dataset.from_arrays(X, y)
    assert (data.task, data.classes, data.is_task_guessed) == (task, classes, True)
    assert task in data.task_note
    told = Dataset.from_arrays(X, y, task=task)
    assert not told.is_task_guessed
    assert told.fingerprint() == data.fingerprint()


def test_many_whole_numbers_are_guessed_as_measured_unless_told_otherwise():
    x, y = np.ones((42, 1)), np.repeat(np.arange(21), 2)
    assert Dataset.from_arrays(x, y).task == "regression"
    assert len(Dataset.from_arrays(x, y, task="classification").classes) == 21


def test_chosen_classes_keep_sorted_order_and_count_from_zero():
    y = np.array([9, 4, 2, 9, 4, 2, 9, 0])
    data = Dataset.from_arrays(X, y, groups=list("abcdefgh"), test=(X, y[::-1]), classes=[9, 2], name="rows")
    assert data.classes == ("2", "9")
    assert data.name == "rows 2,9"
    np.testing.assert_array_equal(data.y, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(data.x, X[[0, 2, 3, 5, 6]])
    np.testing.assert_array_equal(data.groups, [0, 2, 3, 5, 6])
    np.testing.assert_array_equal(data.test[1], [1, 0, 1, 0, 1])


@pytest.mark.parametrize("change", ["x", "y", "class", "test", "groups", "task"])
def test_fingerprint_changes_with_any_content(change):
    def make(**other):
        given = {"x": X, "y": Y, "test": (X, Y), "groups": np.arange(8), "task": "classification"}
        return Dataset.from_arrays(**(given | other)).fingerprint()

    nudged = X.copy()
    nudged[7, 2] += 0.5
    others = {
        "x": {"x": nudged},
        "y": {"y": Y[::-1]},
        "class": {"y": Y + 1, "test": (X, Y + 1)},
        "test": {"test": (nudged, Y)},
        "groups": {"groups": np.arange(8) // 2},
        "task": {"task": "regression"},
    }
    assert make(name="another name") == make()
    assert make(**others[change]) != make()


def test_fingerprint_of_a_table_sees_every_cell_and_not_the_index():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3, 4], "b": ["x", None, "y", "x"]})
    y = [0, 1, 0, 1]
    prints = {Dataset.from_arrays(frame, y).fingerprint(), Dataset.from_arrays(frame.set_axis(list("wxyz")), y).fingerprint()}
    assert len(prints) == 1
    for column, value in (("a", 2.0), ("b", "z")):
        other = frame.copy()
        other.loc[1, column] = value
        prints.add(Dataset.from_arrays(other, y).fingerprint())
    prints.add(Dataset.from_arrays(frame.rename(columns={"a": "c"}), y).fingerprint())
    assert len(prints) == 4


def _with(value, dtype=float):
    x = X.astype(dtype)
    x[5, 1] = value
    return x


FRAME = pd.DataFrame({"a": X[:, 0], "b": list("pqpqpqpq")})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"x": _with(np.nan)}, "the first is row 5"),
        ({"x": _with(np.inf)}, "the first is row 5"),
        ({"x": _with(1e300)}, "infinite (as float32)"),
        ({"x": X.astype(str)}, "dtype <U"),
        ({"x": X.astype(complex)}, "dtype complex128"),
        ({"x": X[:, 0]}, "shape (8,)"),
        ({"x": X[:, :0]}, "there is nothing in it"),
        ({"x": X[:0], "y": Y[:0]}, "there is nothing in it"),
        ({"x": X[:7]}, "7 rows and 8 targets"),
        ({"x": [[1, 2], [3]]}, "NumPy cannot read it"),
        ({"x": FRAME.assign(a=np.inf)}, "8 of 8 rows"),
        ({"x": FRAME.assign(b=FRAME["b"]).set_axis(["a", "a"], axis=1)}, "two columns 'a'"),
        ({"y": np.zeros(8)}, "one class only"),
        ({"y": np.full(8, 0.5)}, "one value only"),
        ({"y": Y[:, None]}, "shape (8, 1)"),
        ({"y": [0, 1, None, 0, 1, 0, 1, 0]}, "missing or not finite in 1 of 8 rows"),
        ({"y": [0, 1, 1, 0, np.nan, 0, 1, 0]}, "the first is row 4"),
        ({"y": [0, 1, 1, 0, np.inf, 0, 1, 0]}, "the first is row 4"),
        ({"y": list("abababab"), "task": "regression"}, "a regression needs numbers"),
        ({"classes": "0"}, "one class only"),
        ({"classes": "0-3"}, "classes 2, 3 are absent from the data: its classes are 0, 1"),
        ({"test": (X[:, :2], Y)}, "rows of the test part have the form (2,)"),
        ({"test": (X, Y + 1)}, "the test part has the class 2"),
        ({"test": (_with(np.nan), Y)}, "the test part hold numbers that are NaN"),
        ({"val": (X, Y)}, "a validation part and no test part"),
        ({"groups": [1, 2]}, "groups name 2 rows"),
        ({"groups": [1, 2, 3, 4, None, 6, 7, 8]}, "the group is missing"),
    ],
)
def test_data_that_cannot_carry_an_experiment_is_refused(arguments, says):
    with pytest.raises(DataError) as caught:
        Dataset.from_arrays(**({"x": X, "y": Y} | arguments))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"task": "clasification"}, "Did you mean 'classification'?"),
        ({"task": "regression", "classes": "0-1"}, "classes are chosen for a regression"),
        ({"classes": "4-0"}, "Write 0-4"),
        ({"classes": "0,,1"}, "empty name"),
        ({"classes": ""}, "empty name"),
        ({"classes": "0-99999999999"}, "more than 10000 classes"),
    ],
)
def test_settings_that_contradict_are_refused(arguments, says):
    with pytest.raises(SettingError) as caught:
        Dataset.from_arrays(X, Y, **arguments)
    assert says in str(caught.value)


def test_parse_classes_names_each_class_once():
    assert parse_classes("3,1-3, 1") == ("3", "1", "2")


def test_as_dataset_takes_what_people_have():
    data = Dataset.from_arrays(X, Y)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    assert as_dataset(data) is data
    assert {as_dataset((X, Y)).fingerprint(), as_dataset(tensors).fingerprint()} == {data.fingerprint()}
    assert as_dataset("digits").name == "digits"
    with pytest.raises(DataError, match="data is of type int"):
        as_dataset(3)
