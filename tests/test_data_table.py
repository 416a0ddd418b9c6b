"""CSV in all its spellings, and what becomes of a table's columns."""

import gzip

import numpy as np
import pandas as pd
import pytest

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data import Dataset, csv, cut, load
from shrinkwise.experiments.data.prepare import prepare, tidy
from shrinkwise.experiments.records import Condition

TEXT = "age,city,who,class\n1.5,Bonn,a,yes\n,Köln,b,no\n3,?,a,yes\n4,Bonn,b,no\n"


def _write(folder, text, name="people.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def test_csv_reads_numbers_words_and_missing_cells(tmp_path):
    data = csv(_write(tmp_path, TEXT), "class", groups="who")
    assert (data.name, data.task, data.classes, data.is_tabular) == ("people", "classification", ("no", "yes"), True)
    assert data.x.columns.tolist() == ["age", "city"]
    np.testing.assert_array_equal(data.x["age"], [1.5, np.nan, 3, 4])
    assert data.x["city"].fillna("missing").tolist() == ["Bonn", "Köln", "missing", "Bonn"]
    np.testing.assert_array_equal(data.y, [1, 0, 1, 0])
    np.testing.assert_array_equal(data.groups, [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.tsv", TEXT.replace(",", "\t")),
        ("people.csv", TEXT.replace(",", ";")),
        ("people.csv", TEXT.replace("\n", "\r\n")),
        ("people.csv", TEXT.replace(",", ", ")),
        ("people.csv", "\n" + TEXT.replace("\n", "\n\n")),
        ("people.csv", TEXT.replace("Bonn", '"Bonn"')),
        ("people.csv", "\ufeff" + TEXT),
        ("people.csv.gz", gzip.compress(TEXT.encode())),
        ("PEOPLE.TSV", TEXT.replace(",", "\t")),
    ],
    ids=["tabs", "semicolons", "CRLF", "spaces", "blank lines", "quotes", "BOM", "gzip", "capitals"],
)
def test_csv_is_the_same_in_every_spelling(name, content, tmp_path):
    plain = csv(_write(tmp_path, TEXT, "plain.csv"), "class")
    assert load(_write(tmp_path, content, name), target="class").fingerprint() == plain.fingerprint()


@pytest.mark.parametrize("target", ["class", 3, -1, "3", "-1"])
def test_target_is_found_by_name_and_by_index(target, tmp_path):
    assert csv(_write(tmp_path, TEXT), target, groups=2).x.columns.tolist() == ["age", "city"]


def test_a_column_whose_name_is_a_number_goes_before_an_index(tmp_path):
    assert csv(_write(tmp_path, "1,0\n5,x\n6,y\n7,x\n"), "0").classes == ("x", "y")


def test_a_column_may_be_called_by_a_whole_number_or_nan(tmp_path):
    assert csv(_write(tmp_path, "0,1,nan,y\n" + "5,6,7,p\n" * 2 + "5,6,7,q\n"), "y").x.columns.tolist() == ["0", "1", "nan"]


def test_no_header_names_columns_by_number(tmp_path):
    data = load(_write(tmp_path, "1,x\n2,y\n3,x\n"), target="c1", header=False)
    assert data.x.columns.tolist() == ["c0"]
    assert len(data.y) == 3


def test_words_that_pandas_reads_as_truth_stay_words(tmp_path):
    data = csv(_write(tmp_path, "a,b,c\nTrue,True,1\nFalse,False,2\n,True,1\nTrue,True,2\n"), "c")
    assert data.x["a"].tolist()[:2] == data.x["b"].tolist()[:2] == ["True", "False"]
    assert data.x["a"].isna().tolist() == [False, False, True, False]


def test_a_word_far_down_a_long_column_of_numbers_makes_all_of_it_words(tmp_path):
    # Long and wide enough that pandas would by itself read it in pieces, and the zero of 012 would be lost in all but the last.
    n, zeros = 40_000, ",0" * 40
    data = csv(_write(tmp_path, f"{'012' + zeros}\n" * n + f"{'x' + zeros[:-1] + '1'}\n"), -1, header=False)
    assert data.x["c0"].value_counts().to_dict() == {"012": n, "x": 1}


def test_a_number_column_can_be_a_regression_target(tmp_path):
    data = csv(_write(tmp_path, TEXT.replace("\n,", "\n2,")), "age")
    assert (data.task, data.y.tolist()) == ("regression", [1.5, 2, 3, 4])


@pytest.mark.parametrize(
    ("content", "target", "says"),
    [
        ("", "class", "is empty"),
        ("\n \n", "class", "is empty"),
        ("a,class\n", "class", "there is nothing in it"),
        (TEXT, "clas", "Did you mean 'class'?"),
        (TEXT, "zzz", "Its columns are age, city, who, class"),
        (TEXT, 4, "Give an index from -4 to 3"),
        (TEXT, "-5", "Give an index from -4 to 3"),
        (TEXT, "age", "missing or not finite in 1 of 4 rows"),
        (TEXT + "5,Bonn,a\n", "class", "ragged: line 6 has 3 fields"),
        (TEXT + "5,Bonn,a,yes,no\n", "class", "ragged: line 6 has 5 fields"),
        (TEXT.replace(",class", ""), "who", "ragged: line 2 has 4 fields"),
        (TEXT + '"5,Bonn,a,yes\n', "class", "cannot be read as a table"),
        (TEXT.replace("no", "yes"), "class", "one class only"),
        (TEXT.replace("1.5", "inf"), "class", "1 of 4 rows"),
        ("class\nx\ny\n", "class", "has no column beside 'class'"),
        ("a,a,class\n1,2,x\n3,4,y\n", "class", "column 'a' twice"),
        ("0.5,0.25,x\n1,2,x\n3,4,y\n", 2, "the first line may be data"),
        (TEXT.encode("latin-1"), "class", "is not text in UTF-8"),
        (gzip.compress(TEXT.encode())[:-9], "class", "is cut short"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(content, target, says, tmp_path):
    with pytest.raises(DataError) as caught:
        csv(_write(tmp_path, content), target)
    assert says in str(caught.value)


def test_an_unreadable_file_and_a_double_use_of_a_column_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        csv(tmp_path / "absent.csv", "class")
    with pytest.raises(SettingError, match="both target and groups"):
        csv(_write(tmp_path, TEXT), "class", groups=-1)


def test_an_identifier_is_not_one_hot_encoded():
    frame = pd.DataFrame({"id": [f"person {i}" for i in range(1001)]})
    with pytest.raises(DataError, match="1001 distinct words"):
        tidy(frame)
    assert tidy(frame[:1000]).shape == (1000, 1)


def _prepare(*columns):
    return prepare(*[tidy(pd.DataFrame({"a": column})) for column in columns])


def test_numbers_are_imputed_by_the_median_flagged_and_standardised():
    train, other = _prepare([1.0, np.nan, 2.0, 9.0], [np.nan, 2.0])
    assert train.dtype == np.float32
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-6)
    assert train[1, 0] == train[2, 0]
    assert (train[:, 1] > 0).tolist() == [False, True, False, False]
    np.testing.assert_array_equal(other, train[[1, 2]])


def test_words_become_one_hot_with_missing_as_a_word_and_unknown_as_nothing():
    train, other = _prepare(["x", None, "y", "x"], ["z", None, "y"])
    np.testing.assert_array_equal(train, [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(other, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ([7.0] * 4, [1e30, np.nan]),
        ([np.nan] * 4, [1.0, np.nan]),
        ([7.0, np.nan, 7.0, 7.0], [7.0, np.nan]),
        (["x"] * 4, ["x", "y", None]),
        (pd.Series([None] * 4, dtype=object), pd.Series(["x", None], dtype=object)),
    ],
    ids=["one number", "no number", "one number or none", "one word", "no word"],
)
def test_a_column_that_is_constant_in_training_rows_gives_finite_numbers(column, other):
    for part in _prepare(column, other):
        assert part.shape[1] > 0
        assert np.isfinite(part).all()


def _mixed(n):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"number": rng.normal(size=n), "word": rng.choice(["p", "q", "r"], size=n)})
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "word"] = None
    return frame, rng.integers(2, size=n)


def test_changing_held_out_rows_does_not_change_training_rows():
    frame, y = _mixed(60)
    before = cut(Dataset.from_arrays(frame, y), Condition(), seed=3)
    for rows in (before.test_rows, before.val_rows):
        changed = frame.copy()
        changed.loc[rows, "number"] = 1e6
        changed.loc[rows, "word"] = "a word of their own"
        after = cut(Dataset.from_arrays(changed, y), Condition(), seed=3)
        np.testing.assert_array_equal(after.x_train, before.x_train)
    assert not np.array_equal(after.x_val, before.x_val)


def test_rows_that_a_smaller_training_set_leaves_out_do_not_change_it():
    frame, y = _mixed(60)
    before = cut(Dataset.from_arrays(frame, y), Condition(train_size=20), seed=3)
    left_out = cut(Dataset.from_arrays(frame, y), Condition(), seed=3).train_rows[20:]
    frame.loc[left_out, "number"] = 1e6
    after = cut(Dataset.from_arrays(frame, y), Condition(train_size=20), seed=3)
    np.testing.assert_array_equal(after.x_train, before.x_train)


@pytest.mark.parametrize(
    ("name", "classes", "n_rows", "n_columns"),
    [("sonar", ("M", "R"), 208, 60), ("ionosphere", ("b", "g"), 351, 34), ("german", ("1", "2"), 1000, 20)],
)
def test_real_tables_are_read_and_cut(name, classes, n_rows, n_columns, shared_data):
    path = shared_data / "tabular" / f"{name}.csv"
    data = load(path, target="-1", header=False)
    assert (data.task, data.classes, data.x.shape) == ("classification", classes, (n_rows, n_columns))
    split = cut(data, Condition(), seed=0)
    for part in (split.x_train, split.x_val, split.x_test):
        assert np.isfinite(part).all()
        assert part.shape[1] == split.x_train.shape[1] >= n_columns
    with pytest.raises(DataError, match="the first line may be data"):
        load(path, target=-1)
