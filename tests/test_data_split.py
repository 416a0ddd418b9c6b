"""What every split keeps to, whatever the data, the condition and the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shrinkwise.errors import DataError, SettingError
from shrinkwise.experiments.data import Dataset, cut, digits
from shrinkwise.experiments.records import Condition

PARTS = ("train", "val", "test")
SEEDS = st.integers(min_value=0, max_value=10_000)


def _dataset(counts, **parts):
    """Rows whose only feature is their own number, ``counts[i]`` of them of class ``i``, in mixed order."""
    y = np.random.default_rng(len(counts)).permutation(np.repeat(np.arange(len(counts)), counts))
    return Dataset.from_arrays(np.arange(len(y))[:, None], y, task="classification", **parts)


def _rows(split):
    return {part: getattr(split, f"{part}_rows") for part in PARTS}


counts = st.lists(st.integers(min_value=3, max_value=60), min_size=2, max_size=6)


@given(counts=counts, seed=SEEDS)
def test_parts_are_disjoint_cover_all_rows_and_hold_every_class(counts, seed):
    data = _dataset(counts)
    split = cut(data, Condition(), seed)
    rows = _rows(split)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(data.y)))
    for part, mine in rows.items():
        y = getattr(split, f"y_{part}")
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, data.y[mine])
        np.testing.assert_array_equal(getattr(split, f"x_{part}")[:, 0], mine)
        assert set(y) == set(range(len(counts)))
        # A held-out part rounds its size to whole rows and then each class to a neighbour, and training rows bear that of both.
        share, most = (0.6, 3) if part == "train" else (0.2, 1.5)
        assert np.all(np.abs(np.bincount(y) - share * np.array(counts)) <= most)


@given(counts=counts, seed=SEEDS, data=st.data())
def test_training_sizes_are_nested_and_stratified(counts, seed, data):
    dataset = _dataset(counts)
    whole = cut(dataset, Condition(), seed)
    n_train = len(whole.y_train)
    size = data.draw(st.integers(min_value=len(counts), max_value=n_train))
    part = cut(dataset, Condition(train_size=size), seed)
    np.testing.assert_array_equal(part.train_rows, whole.train_rows[:size])
    for name in ("val", "test"):
        np.testing.assert_array_equal(_rows(part)[name], _rows(whole)[name])
    seen = np.bincount(part.y_train, minlength=len(counts))
    assert seen.min() >= 1
    assert np.all(np.abs(seen - size * np.bincount(whole.y_train) / n_train) <= len(counts))


@given(seed=SEEDS, low=st.floats(0, 1), high=st.floats(0, 1))
def test_label_noise_is_nested_in_share_and_in_size_and_spares_held_out_rows(seed, low, high):
    low, high = sorted((low, high))
    data = _dataset([60, 50, 40])
    weak, strong = (cut(data, Condition(label_noise=share), seed) for share in (low, high))
    small = cut(data, Condition(train_size=30, label_noise=high), seed)
    clean = data.y[weak.train_rows]
    is_noisy = weak.y_train != clean
    np.testing.assert_array_equal(strong.train_rows, weak.train_rows)
    np.testing.assert_array_equal(strong.y_train[is_noisy], weak.y_train[is_noisy])
    np.testing.assert_array_equal(small.y_train, strong.y_train[:30])
    for split in (weak, strong, small):
        np.testing.assert_array_equal(split.y_val, data.y[split.val_rows])
        np.testing.assert_array_equal(split.y_test, data.y[split.test_rows])


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_label_noise_draws_its_share_uniformly_over_all_classes(share):
    data = _dataset([4000, 4000, 4000, 4000])
    split = cut(data, Condition(label_noise=share), seed=1)
    clean = data.y[split.train_rows]
    changed = (split.y_train != clean).mean()
    # The right class is among the four, so three quarters of the labels drawn anew differ; the tolerance is four standard errors.
    assert abs(changed - 0.75 * share) <= 4 * np.sqrt(0.75 * share * (1 - 0.75 * share) / len(clean))
    if share == 1:
        assert np.abs(np.bincount(split.y_train) / len(clean) - 0.25).max() < 0.02


def test_another_seed_cuts_and_draws_anew_and_the_same_seed_does_not():
    data = digits("0-4")
    first, again, other = (cut(data, Condition(label_noise=0.2), seed) for seed in (0, 0, 1))
    for part in PARTS:
        for kind in ("x_", "y_"):
            np.testing.assert_array_equal(getattr(first, kind + part), getattr(again, kind + part))
        assert set(_rows(first)[part]) != set(_rows(other)[part])
    # The noise of two seeds must not fall on the same rows of the data set.
    noisy = [set(split.train_rows[split.y_train != data.y[split.train_rows]]) for split in (first, other)]
    assert len(noisy[0] & noisy[1]) < 0.5 * len(noisy[0])


def test_global_random_state_changes_nothing():
    data = _dataset([20, 20], groups=np.arange(40) // 2)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is under test
    first = cut(data, Condition(label_noise=0.5), 7)
    np.random.seed(2)  # noqa: NPY002
    again = cut(data, Condition(label_noise=0.5), 7)
    np.testing.assert_array_equal(first.train_rows, again.train_rows)
    np.testing.assert_array_equal(first.y_train, again.y_train)


def test_a_given_test_part_stays_and_validation_is_cut_from_training_rows():
    test = (np.array([[9.0], [7.0], [8.0]]), np.array([1, 0, 1]))
    data = _dataset([50, 50], test=test)
    for seed in (0, 1):
        split = cut(data, Condition(train_size=10), seed)
        np.testing.assert_array_equal(split.x_test, test[0])
        np.testing.assert_array_equal(split.y_test, test[1])
        assert (len(split.y_train), len(split.y_val)) == (10, 20)
        assert not set(split.train_rows) & set(split.val_rows)


def test_validation_beside_a_given_test_part_has_5000_rows_at_most():
    y = np.arange(30_001) % 3
    data = Dataset.from_arrays(np.zeros((len(y), 1)), y, test=(np.zeros((3, 1)), [0, 1, 2]))
    split = cut(data, Condition(), 0)
    assert (len(split.y_train), len(split.y_val)) == (25_001, 5000)


def test_a_given_validation_part_stays_and_all_other_rows_train():
    part = (np.array([[7.0], [8.0]]), np.array([1, 0]))
    for groups in (None, np.arange(10)):
        split = cut(_dataset([5, 5], test=part, val=part, groups=groups), Condition(), 0)
        np.testing.assert_array_equal(split.x_val, part[0])
        np.testing.assert_array_equal(split.y_val, part[1])
        assert sorted(split.train_rows) == list(range(10))


@given(sizes=st.lists(st.integers(1, 9), min_size=6, max_size=30), seed=SEEDS, is_regression=st.booleans(), has_test=st.booleans())
def test_groups_are_never_on_two_sides(sizes, seed, is_regression, has_test):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    # Two rows a group at least, one of each class, so that any cut into groups has every class everywhere.
    groups = np.sort(np.concatenate([groups, np.arange(len(sizes)), np.arange(len(sizes))]))
    y = np.arange(len(groups)) % 2
    y = y + 0.5 * np.arange(len(y)) if is_regression else y
    x = np.arange(len(y), dtype=float)[:, None]
    data = Dataset.from_arrays(
        x, y, groups=groups, test=(x, y) if has_test else None, task="regression" if is_regression else "classification"
    )
    split = cut(data, Condition(), seed)
    parts = ("train", "val") if has_test else PARTS
    rows = {part: _rows(split)[part] for part in parts}
    sides = {part: set(groups[mine]) for part, mine in rows.items()}
    assert all(sides.values())
    assert sum(len(side) for side in sides.values()) == len(sizes)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(y)))


def test_groups_of_unequal_size_come_near_their_shares_and_vary_with_the_seed():
    groups = np.repeat(np.arange(40), 1 + np.arange(40) % 7)
    y = (groups % 3 == 0).astype(int)
    data = Dataset.from_arrays(np.zeros((len(y), 1)), y, groups=groups)
    splits = [cut(data, Condition(), seed) for seed in range(60)]
    for split in splits:
        assert abs(len(split.y_test) / len(y) - 0.2) < 0.05
        assert abs(len(split.y_val) / len(y) - 0.2) < 0.05
        assert abs(split.y_test.mean() - y.mean()) < 0.1
    tested = [frozenset(groups[split.test_rows]) for split in splits]
    assert len(set(tested)) == 60
    assert len(frozenset.union(*tested)) == 40


def test_a_regression_target_is_standardised_by_training_rows_alone():
    y = np.random.default_rng(0).normal(50, 7, size=100)
    data = Dataset.from_arrays(np.arange(100.0)[:, None], y)
    split = cut(data, Condition(train_size=40), 0)
    assert (len(split.y_train), len(split.y_val), len(split.y_test)) == (40, 20, 20)
    assert (split.y_mean, split.y_scale) == (y[split.train_rows].mean(), y[split.train_rows].std())
    for part in PARTS:
        ours = getattr(split, f"y_{part}")
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours * split.y_scale + split.y_mean, y[_rows(split)[part]], rtol=1e-5)


def test_a_regression_target_that_is_constant_in_training_rows_stays_finite():
    # 0.1 summed and divided is not 0.1 again, so a standard deviation of rounding errors must not become the scale.
    y = np.full(60, 0.1)
    y[cut(Dataset.from_arrays(np.zeros((60, 1)), np.arange(60) / 7), Condition(), 0).test_rows[0]] = 9.0
    split = cut(Dataset.from_arrays(np.zeros((60, 1)), y, task="regression"), Condition(), 0)
    assert split.y_scale == 1
    assert np.abs(split.y_test).max() < 10


@pytest.mark.parametrize(
    ("data", "condition", "error", "says"),
    [
        (_dataset([30, 30]), Condition(train_size=37), DataError, "gives 36 when validation and test rows are taken out"),
        (_dataset([30, 30, 30]), Condition(train_size=2), DataError, "there are 3 classes"),
        (_dataset([30, 30]), Condition(train_size=0), SettingError, "train_size is 0"),
        (_dataset([30, 30]), Condition(label_noise=1.1), SettingError, "label_noise is 1.1"),
        (_dataset([30, 30]), Condition(label_noise=-0.1), SettingError, "label_noise is -0.1"),
        (_dataset([30, 30]), Condition(label_noise=float("nan")), SettingError, "label_noise is nan"),
        (_dataset([30, 2]), Condition(), DataError, "class 1 has 2 rows"),
        (_dataset([30, 1], test=([[0.0]], [0])), Condition(), DataError, "each of the 2 parts"),
        (_dataset([30, 30], groups=np.arange(60) % 2), Condition(), DataError, "the data has rows in 2 groups only"),
        (
            Dataset.from_arrays([[0.0]] * 9, [0, 0, 0, 0, 0, 0, 1, 1, 1], groups=[1, 2, 3, 4, 5, 6, 7, 7, 8]),
            Condition(),
            DataError,
            "class 1",
        ),
        (Dataset.from_arrays([[0.0]] * 2, [0.5, 1.5]), Condition(), DataError, "has 2 rows"),
        (Dataset.from_arrays([[0.0]] * 3, [0.5, 1.5, 2]), Condition(), DataError, "a spread needs two"),
        (
            Dataset.from_arrays([[0.0]] * 9, np.arange(9) / 2),
            Condition(label_noise=0.1),
            SettingError,
            "a regression has no labels",
        ),
    ],
)
def test_conditions_that_the_data_cannot_give_are_refused(data, condition, error, says):
    with pytest.raises(error) as caught:
        cut(data, condition, 0)
    assert says in str(caught.value)


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5, 5, 5], [1, 1, 100, 1, 1, 100]])
def test_few_groups_of_one_class_each_still_give_every_part_every_class(sizes):
    groups = np.repeat(np.arange(6), sizes)
    y = (groups > 2).astype(int)
    data = Dataset.from_arrays(np.zeros((len(y), 1)), y, groups=groups)
    for seed in range(10):
        split = cut(data, Condition(), seed)
        for part in PARTS:
            assert set(getattr(split, f"y_{part}")) == {0, 1}


def test_groups_that_leave_no_way_to_spread_the_classes_are_refused():
    # Class 0 keeps groups 1, 2 and 3 apart, class 1 groups 1, 2 and 4, so 3 and 4 are together, which class 2 forbids.
    groups, y = [1, 2, 3, 1, 2, 4, 3, 4, 5], [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(DataError, match="none of 200 ways to share out 5 groups"):
        cut(Dataset.from_arrays(np.zeros((9, 1)), y, groups=groups), Condition(), 0)
