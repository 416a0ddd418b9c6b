"""Tables become numbers: imputed, standardised and one-hot encoded, by what the training rows alone say."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shrinkwise.errors import DataError

_MOST_WORDS = 1000


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every column one of two kinds: float64 numbers, or words (dtype object) in which NaN is missing.

    Truth values are words. Names become strings, and rows are counted from 0.

    Raises:
        DataError: Two columns have one name, one has more distinct words than can sensibly be one-hot encoded, or one holds numbers
            that are written with a comma.

    >>> tidy(pd.DataFrame({"a": [1, 2], 7: ["x", None]})).dtypes.to_dict()
    {'a': dtype('float64'), '7': dtype('O')}
    """
    if frame.columns.has_duplicates:
        double = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"the table has two columns {double!r}", "a column is known by its name", "give each a name of its own")
    columns: dict[str, pd.Series] = {}
    for name, column in frame.items():
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            columns[str(name)] = pd.Series(column.to_numpy(np.float64, na_value=np.nan))
            continue
        words = np.array(
            [np.nan if is_missing else str(word) for word, is_missing in zip(column, column.isna(), strict=True)], object
        )
        columns[str(name)] = pd.Series(words, dtype=object)
        _check_no_numbers(str(name), [word for word in words if isinstance(word, str)])
        n_words = columns[str(name)].nunique()
        if n_words > _MOST_WORDS:
            raise DataError(
                f"column {name!r} has {n_words} distinct words",
                f"each becomes an input of its own, and {_MOST_WORDS} are the most that is sensible (is it an identifier?)",
                "remove the column, or use it as groups",
            )
    return pd.DataFrame(columns)


def _check_no_numbers(name: str, words: list[str]) -> None:
    """Refuse a column of numbers that are written with a comma: as words they would all be told apart, and none compared."""
    commas = [word for word in words if re.fullmatch(r"[+-]?\d+(,\d+)+(\.\d+)?", word.strip())]
    numbers = [word for word in words if re.fullmatch(r"[+-]?\d+([.,]\d+)*", word.strip())]
    if commas and 10 * len(numbers) >= 9 * len(words):
        raise DataError(
            f"column {name!r} holds {commas[0]!r}",
            "numbers with a comma would be read as words",
            "write them with a point, as 1511.72",
        )


def prepare(train: pd.DataFrame, *others: pd.DataFrame) -> list[npt.NDArray[np.float32]]:
    """Turn tables into arrays by a transformation fitted on ``train`` alone.

    Numbers: a missing one becomes the median, beside an indicator column where training rows miss any; then mean 0 and standard
    deviation 1 (a column that is constant in training rows is only centred). Words: one-hot, missing being a word of its own; a
    word that training rows do not have gives zeros. The number of features thus depends on the training rows.

    Args:
        train: Training rows as :func:`tidy` gives them, shape ``(n_train, column)``.
        *others: Further tables with the same columns.

    Returns:
        ``train`` and each of ``others``, as arrays of shape ``(row, feature)``.

    >>> a = pd.DataFrame({"x": [1.0, 3.0, np.nan]})
    >>> b = pd.DataFrame({"x": [np.nan]})
    >>> [part.shape for part in prepare(a, b)]
    [(3, 2), (1, 2)]
    """
    is_number = {name: is_numeric_dtype(train[name]) for name in train.columns}
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    transformer = ColumnTransformer(
        [
            ("numbers", numbers, [name for name, yes in is_number.items() if yes]),
            ("words", words, [name for name, yes in is_number.items() if not yes]),
        ]
    )
    transformer.fit(train)
    return [np.ascontiguousarray(transformer.transform(part), dtype=np.float32) for part in (train, *others)]
