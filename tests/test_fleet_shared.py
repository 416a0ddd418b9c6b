"""What runs share: products of many groups at once, rows that stand side by side, masks of groups that have the same rates."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fleets import EXACT, compare_records, differences, recipe, runs_of, watched
from shrinkwise.experiments.engine import train_one
from shrinkwise.experiments.engine.fleet import train_fleet
from shrinkwise.experiments.engine.fleet.dense import silencing
from shrinkwise.experiments.engine.fleet.dense.rows import joined
from shrinkwise.experiments.engine.fleet.dense.shared import abreast, shared
from shrinkwise.experiments.engine.fleet.groups import Group
from shrinkwise.experiments.engine.fleet.updates import Blocking
from shrinkwise.experiments.records import Status, Variant
from shrinkwise.seeding import torch_generator

N_UNITS, N_ROWS, N_FEATURES = 3, 4, 5


def groups_of(sizes: Sequence[int]) -> list[Group]:
    nothing = torch.empty(0)
    return [Group(seed, nothing, nothing, nothing, n_runs) for seed, n_runs in enumerate(sizes)]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 4), st.data())
def test_every_run_meets_the_rows_of_its_group_once(sizes, threads, data):
    n_runs = sum(sizes)
    begin = data.draw(st.integers(0, n_runs - 1))
    end = data.draw(st.integers(begin + 1, n_runs))
    drawn = torch_generator("shared")
    weight = torch.randn(n_runs, N_UNITS, N_FEATURES, generator=drawn, dtype=torch.float64)
    # One step of several, so that groups are no neighbours in memory.
    x = torch.randn(len(sizes), 2, N_ROWS, N_FEATURES, generator=drawn, dtype=torch.float64)[:, 1]
    of_run = [group for group, size in enumerate(sizes) for _ in range(size)]
    out = torch.full((n_runs, N_UNITS, N_ROWS), torch.nan, dtype=torch.float64)
    sink = torch.full((end - begin, N_UNITS, N_FEATURES), torch.nan, dtype=torch.float64)
    products = shared(groups_of(sizes), (begin, end), threads)
    assert [run for these in products for run in range(*these.runs)] == list(range(begin, end))
    for these in products:
        torch.bmm(these.factors(weight), these.rows(x).transpose(1, 2), out=these.factors(out))
        torch.bmm(these.factors(out), these.rows(x), out=these.factors(sink, first=begin))
        n_groups = these.groups[1] - these.groups[0]
        assert n_groups >= threads if these.is_wide else n_groups == 1
    for run in range(begin, end):
        torch.testing.assert_close(out[run], weight[run] @ x[of_run[run]].t())
        torch.testing.assert_close(sink[run - begin], out[run] @ x[of_run[run]])
    assert out[:begin].isnan().all()
    assert out[end:].isnan().all()


@pytest.mark.parametrize(
    ("sizes", "threads", "n_products"), [([8, 8, 8, 8], 2, 1), ([8], 2, 1), ([8], 1, 1), ([8, 8, 8, 3, 3], 2, 2), ([8, 7, 8], 2, 3)]
)
def test_equal_groups_share_one_product(sizes, threads, n_products):
    assert len(shared(groups_of(sizes), (0, sum(sizes)), threads)) == n_products


@given(st.integers(1, 8), st.integers(1, 16), st.integers(1, 2**24))
def test_a_block_holds_as_many_runs_of_each_thread(threads, n_runs, n_bytes):
    groups = groups_of([n_runs] * threads)
    size = Blocking(threads, abreast(groups, threads)).size(n_bytes)
    assert size >= threads
    assert size % threads == 0
    assert abreast(groups, threads) == threads * n_runs
    assert abreast([*groups, *groups_of([n_runs + 1])], threads) == threads


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5]), min_size=1, max_size=6), st.randoms())
def test_rows_are_put_together_where_they_follow_one_another(numbers, rng):
    stacked = torch.arange(6.0 * 2 * 3).view(6, 2, 3)
    apart = stacked.clone()
    rows = [(stacked if rng.random() < 0.8 else apart)[number] for number in numbers]
    n_runs = [rng.choice([1, 1, 1, 2]) for _ in numbers]
    found = joined(list(zip(rows, n_runs, strict=True)))
    assert [n for x, n in found for _ in x] == n_runs
    torch.testing.assert_close(torch.cat([x for x, _ in found]), torch.stack(rows))


def test_rows_that_lie_apart_stay_so():
    stacked = torch.arange(24.0).view(4, 2, 3)
    assert [len(x) for x, _ in joined([(x, 8) for x in stacked])] == [4]
    assert [len(x) for x, _ in joined([(stacked[i], 8) for i in (0, 2, 3)])] == [1, 2]
    assert [len(x) for x, _ in joined([(stacked[0], 8), (stacked[1], 7)])] == [1, 1]
    assert [len(x) for x, _ in joined([(x.t(), 8) for x in stacked])] == [1, 1, 1, 1]
    # At the next place, but of other memory.
    assert [len(x) for x, _ in joined([(stacked[0], 8), (stacked.clone()[1], 8)])] == [1, 1]
    # As long as a group, but of other rows.
    assert [len(x) for x, _ in joined([(stacked[0], 8), (stacked.view(-1)[6:12].view(3, 2), 8)])] == [1, 1]


A, B, C = Variant(l2=0.01, dropout=0.5), Variant(l2=0.1, dropout=0.2), Variant(l2=0.1, dropout=0.0)
WILD = Variant(l2=0.0, lr=1e300, dropout=0.5)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2**12])
def test_groups_of_unlike_runs_and_a_whole_group_that_leaves(n_threads, window, monkeypatch):
    fleets = watched(monkeypatch)
    monkeypatch.setattr(silencing, "_WINDOW_ELEMENTS", window)
    of_seed = {0: [A, B, C], 1: [WILD], 2: [A, B, C], 3: [C, A, WILD], 4: [A, B, C], 5: [A, B, C]}
    # 128 rows in batches of 48: a smaller one in every epoch.
    plan = recipe(epochs=4, batch_size=48, threads=n_threads)
    runs = [run for seed, variants in of_seed.items() for run in runs_of(variants, seeds=(seed,), noises=(0.0,))]
    random.Random(0).shuffle(runs)
    assert max(differences(plan, [run for run in runs if run[1].variant != WILD])) < EXACT
    records = {record.key: record for record in train_fleet(plan, runs)}
    for split, key in runs:
        compare_records(records[key], train_one(plan, split, key), 1e-12)
        assert (records[key].status is Status.DIVERGED) == (key.variant == WILD)
    assert [group.n_runs for group in fleets[-1].feed.groups if group.seed in (3, 4)] in ([2, 3], [3, 2])


def test_a_rest_of_the_rows_has_masks_of_its_own(monkeypatch):
    drawn: list[int] = []
    draw = silencing.Silencing._draw

    def watch(self, layer, parts):
        draw(self, layer, parts)
        drawn.append(layer.window[1] - layer.window[0])

    monkeypatch.setattr(silencing.Silencing, "_draw", watch)
    list(train_fleet(recipe(epochs=3, batch_size=48), runs_of([A, B], noises=(0.0,))))
    # Two hidden layers, three epochs of two batches of 48 rows and one of 32.
    assert sorted(drawn) == sorted([2, 1] * 2 * 3)
