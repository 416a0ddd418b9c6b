"""Which row goes to which part: by chance, every class on every side, and no group on two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shrinkwise.errors import DataError

Indices = npt.NDArray[np.int64]

_N_ORDERS = 200


def partition(strata: Indices, n_held: Sequence[int], rng: np.random.Generator, names: Sequence[str]) -> list[Indices]:
    """Hold out rows by chance, each stratum in its share on every side.

    Args:
        strata: Index of each row's stratum (its class), shape ``(n,)``.
        n_held: How many rows each held-out part gets; a rare stratum may make it one or two more.
        rng: Where chance comes from.
        names: How the strata are called in a message.

    Returns:
        The rows of each held-out part, sorted, and then the rows that are left.

    Raises:
        DataError: A stratum has too few rows to be in every part.
    """
    counts = np.bincount(strata, minlength=len(names))
    n_parts = len(n_held) + 1
    rarest = int(counts.argmin())
    if counts[rarest] < n_parts:
        raise DataError(
            f"{names[rarest]} has {counts[rarest]} rows",
            f"each of the {n_parts} parts that are cut needs one at least",
            "give more such rows, or leave that class out (--classes)",
        )
    edges = np.array([_quota(counts, n) for n in n_held], dtype=np.int64).reshape(len(n_held), len(names)).cumsum(axis=0)
    pieces = [np.split(rng.permutation(np.flatnonzero(strata == stratum)), edges[:, stratum]) for stratum in range(len(names))]
    return [np.sort(np.concatenate(part)) for part in zip(*pieces, strict=True)]


def partition_groups(
    strata: Indices, groups: Indices, n_held: Sequence[int], rng: np.random.Generator, names: Sequence[str]
) -> list[Indices]:
    """Hold out whole groups by chance, each stratum near its share on every side.

    Groups are put in a random order and cut where the parts come nearest to their sizes, or later, where a part would lack a
    stratum; of 200 such orders the one is kept in which the strata are nearest to their shares.

    Args:
        strata: Index of each row's stratum (its class), shape ``(n,)``.
        groups: Index of each row's group, shape ``(n,)``.
        n_held: How many rows each held-out part gets, as nearly as groups allow.
        rng: Where chance comes from.
        names: How the strata are called in a message.

    Returns:
        The rows of each held-out part, sorted, and then the rows that are left.

    Raises:
        DataError: There are too few groups, of a stratum or at all.
    """
    _, groups = np.unique(groups, return_inverse=True)
    counts = np.zeros((groups.max() + 1, len(names)))
    np.add.at(counts, (groups, strata), 1)
    n_parts = len(n_held) + 1
    n_groups = (counts > 0).sum(axis=0)
    rarest = int(n_groups.argmin())
    cause = f"each of the {n_parts} parts that are cut needs a group of its own"
    if len(counts) < n_parts or n_groups[rarest] < n_parts:
        who = "the data" if len(counts) < n_parts else names[rarest]
        n = len(counts) if len(counts) < n_parts else n_groups[rarest]
        raise DataError(f"{who} has rows in {n} groups only", cause, "give rows of more groups, or a finer grouping")
    shares = np.array([*n_held, len(strata) - sum(n_held)]) / len(strata)
    best, least = None, np.inf
    for _ in range(_N_ORDERS):
        order = rng.permutation(len(counts))
        pieces = np.split(order, _edges(counts[order], n_held))
        held = np.stack([counts[piece].sum(axis=0) for piece in pieces])
        miss = float(np.square(held / counts.sum(axis=0) - shares[:, None]).sum())
        if held.all() and miss < least:
            best, least = pieces, miss
    if best is None:
        fact = f"none of {_N_ORDERS} ways to share out {len(counts)} groups leaves every class in each part"
        raise DataError(fact, "classes lie in too few groups, or in unlike ones", "give rows of more groups")
    return [np.flatnonzero(np.isin(groups, piece)) for piece in best]


def nested_order(rows: Indices, strata: Indices, rng: np.random.Generator) -> Indices:
    """Put training rows in a random order of which every beginning is stratified.

    The first rows are one of each stratum; after them each stratum advances in proportion to its size.

    Args:
        rows: Training rows, shape ``(n_train,)``.
        strata: Index of each of these rows' stratum, shape ``(n_train,)``.
        rng: Where chance comes from.

    >>> order = nested_order(np.arange(6), np.array([0, 0, 0, 0, 1, 1]), np.random.default_rng(0))
    >>> sorted(order.tolist()), int((order[:3] < 4).sum())
    ([0, 1, 2, 3, 4, 5], 2)
    """
    shuffle = rng.permutation(len(rows))
    place = np.empty(len(rows))
    for stratum in np.unique(strata):
        mine = np.flatnonzero(strata[shuffle] == stratum)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        place[mine[0]] = 0.0
    return rows[shuffle[np.argsort(place, kind="stable")]]


def _quota(counts: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Share ``n`` out in proportion to ``counts`` by largest remainders, at least one each.

    >>> _quota(np.array([60, 30, 10, 2]), 20)
    array([11,  6,  2,  1])
    """
    exact = n * counts / counts.sum()
    quota: npt.NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), 1)
    more = max(n - int(quota.sum()), 0)
    quota[np.argsort(quota - exact, kind="stable")[:more]] += 1
    return quota


def _edges(counts: npt.NDArray[np.float64], n_held: Sequence[int]) -> list[int]:
    """Say where to cut groups in order so that each held-out part has every stratum and is then nearest to its size.

    >>> _edges(np.array([[2, 0], [1, 1], [2, 0], [2, 0], [1, 1], [1, 1]]), [2, 2])
    [2, 5]
    """
    edges: list[int] = []
    start = 0
    for index, goal in enumerate(n_held):
        filled = counts[start:].cumsum(axis=0)
        nearest = np.abs(filled.sum(axis=1) - goal).argmin()
        lacking = (filled == 0).any(axis=1).sum()
        room = len(counts) - start - (len(n_held) - index)
        start += min(int(max(nearest, lacking)) + 1, room)
        edges.append(start)
    return edges
