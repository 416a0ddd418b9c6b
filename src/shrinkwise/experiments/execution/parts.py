"""How runs are cut into parts, each of which is trained at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise

from shrinkwise.experiments.records import RunKey

_UNEVEN = 1.25
"""How much larger than an even share the largest part may be so that no seed is cut: beyond, processes wait for one another."""


def cut_into_parts(keys: Sequence[RunKey], size: int, jobs: int) -> list[list[RunKey]]:
    """Cut runs into parts that can be trained together, so that every process has its share.

    Runs of one seed and one number of training rows see the same rows, and stay together where that costs nothing: they share
    their batches. Runs of different numbers of rows are never in one part, since they take different numbers of steps.

    Args:
        keys: The runs, each once.
        size: The most runs of a part.
        jobs: Number of processes.

    Returns:
        The parts, in the order in which their first runs were given.

    >>> from shrinkwise.experiments.records import Condition, Variant
    >>> keys = [RunKey(Variant(l2=l2), Condition(), seed) for seed in range(4) for l2 in (0.0, 0.1, 1.0)]
    >>> [[key.seed for key in part] for part in cut_into_parts(keys, size=8, jobs=2)]
    [[0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3]]
    """
    places = {key: place for place, key in enumerate(keys)}
    stacks: dict[int | None, dict[int, list[RunKey]]] = defaultdict(lambda: defaultdict(list))
    for key in keys:
        stacks[key.condition.train_size][key.seed].append(key)
    parts = [part for seeds in stacks.values() for part in _cut(list(seeds.values()), size, jobs)]
    return sorted(parts, key=lambda part: places[part[0]])


def _cut(seeds: Sequence[Sequence[RunKey]], size: int, jobs: int) -> list[list[RunKey]]:
    """Cut runs of one kind, given seed by seed: whole seeds where that is even enough, else wherever it falls."""
    pieces = [piece for seed in seeds for piece in _slices(seed, math.ceil(len(seed) / size))]
    flat = [key for piece in pieces for key in piece]
    wanted = max(len(_packed(pieces, size)), min(jobs, len(flat)))
    # A multiple of the processes, so that none is idle while another trains its last.
    n_parts = min(math.ceil(wanted / jobs) * jobs, len(flat))
    even = math.ceil(len(flat) / n_parts)
    for most in range(even, min(size, math.floor(even * _UNEVEN)) + 1):
        packed = _packed(pieces, most)
        if len(packed) <= n_parts and max(map(len, packed)) <= most:
            return packed
    return _slices(flat, n_parts)


def _packed(pieces: Sequence[Sequence[RunKey]], most: int) -> list[list[RunKey]]:
    """Put pieces that follow one another together, up to so many runs; a larger piece stands alone."""
    parts: list[list[RunKey]] = []
    for piece in pieces:
        if parts and len(parts[-1]) + len(piece) <= most:
            parts[-1].extend(piece)
        else:
            parts.append(list(piece))
    return parts


def _slices(keys: Sequence[RunKey], n: int) -> list[list[RunKey]]:
    """Cut a list into so many slices whose lengths differ by one at most."""
    lengths = [len(keys) // n + (k < len(keys) % n) for k in range(n)]
    return [list(keys[begin:end]) for begin, end in pairwise(accumulate(lengths, initial=0))]
