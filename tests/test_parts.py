"""Runs that are trained in parts: how they are cut, when their records are kept, and by what means they go on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shrinkwise as sw
from shrinkwise.errors import SettingError
from shrinkwise.experiments.execution import LocalLauncher, Store, Trainer, execute
from shrinkwise.experiments.execution.means import trainer_by
from shrinkwise.experiments.execution.parts import cut_into_parts
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.records import Condition, Record, RunKey, Status, Variant
from shrinkwise.experiments.tuning.layered import BY_LAYER, ONE, STRENGTHS, _LayeredTrainer
from small import fingerprints, small_experiment


def keys_of(n_seeds: int, n_variants: int, conditions: Sequence[Condition] = (Condition(),)) -> list[RunKey]:
    return [
        RunKey(Variant(l2=0.1 * number), condition, seed)
        for seed in range(n_seeds)
        for condition in conditions
        for number in range(n_variants)
    ]


CONDITIONS = (Condition(), Condition(label_noise=0.2), Condition(100), Condition(100, 0.2))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(1, 40), st.integers(1, 5), st.randoms())
def test_parts_hold_every_run_once_and_every_process_has_its_share(n_seeds, n_variants, n_conditions, size, jobs, rng):
    keys = keys_of(n_seeds, n_variants, CONDITIONS[:n_conditions])
    keys = rng.sample(keys, rng.randint(1, len(keys)))
    parts = cut_into_parts(keys, size, jobs)
    assert sorted(map(keys.index, (key for part in parts for key in part))) == list(range(len(keys)))
    assert max(map(len, parts)) <= size
    for train_size in {key.condition.train_size for key in keys}:
        mine = [part for part in parts if part[0].condition.train_size == train_size]
        assert all(key.condition.train_size == train_size for part in mine for key in part)
        n = sum(map(len, mine))
        # Rounds of as many parts as there are processes; the longest of each decides.
        even = math.ceil(n / (math.ceil(len(mine) / jobs) * jobs))
        assert max(map(len, mine)) <= max(math.ceil(1.25 * even), 1)
        assert len(mine) >= min(jobs, math.ceil(n / 2))


@pytest.mark.parametrize(
    ("n_seeds", "n_variants", "size", "jobs", "lengths"),
    [
        (4, 8, 16, 1, [16, 16]),
        (4, 8, 16, 2, [16, 16]),
        (4, 8, 32, 2, [16, 16]),
        (4, 8, 12, 1, [8, 8, 8, 8]),
        (1, 20, 8, 1, [7, 7, 6]),
        # Three seeds for two processes: the second is cut, since one of them would wait else.
        (3, 8, 32, 2, [12, 12]),
        (5, 4, 8, 1, [8, 8, 4]),
        (1, 2, 8, 4, [1, 1]),
        (8, 2, 128, 1, [16]),
    ],
)
def test_whole_seeds_stay_together_where_that_is_even_enough(n_seeds, n_variants, size, jobs, lengths):
    parts = cut_into_parts(keys_of(n_seeds, n_variants), size, jobs)
    assert [len(part) for part in parts] == lengths


def test_conditions_that_share_their_rows_share_a_part():
    (one, other) = cut_into_parts(keys_of(2, 3, CONDITIONS), size=12, jobs=1)
    assert {key.condition.train_size for key in one} == {None}
    assert [(key.seed, key.condition.label_noise) for key in other] == [
        (seed, noise) for seed in (0, 1) for noise in (0.0, 0.2) for _ in range(3)
    ]


# Launching and keeping.


@dataclass
class InParts:
    """Trains in parts of a size, by the single loop, and remembers in which."""

    alone: Trainer
    size: int
    jobs: int | None = None
    log: Path | None = None

    def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
        return cut_into_parts(keys, self.size, jobs)

    def __call__(self, part: Sequence[RunKey]) -> Iterator[Record]:
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{len(part)}\n")
        return self.alone(part)


def in_parts(experiment, size, **rest):
    return InParts(Trainer(experiment.recipe, experiment.dataset), size, **rest)


@pytest.fixture(scope="module")
def uninterrupted():
    return small_experiment().run(jobs=1).records


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_record_of_every_part_comes_once(jobs, uninterrupted, tmp_path):
    experiment = small_experiment()
    train = in_parts(experiment, 3, log=tmp_path / "log")
    found = list(chain.from_iterable(LocalLauncher(jobs).launch(train, experiment.plan.runs())))
    assert len(found) == 16
    assert fingerprints(found) == fingerprints(uninterrupted)
    assert max(map(int, (tmp_path / "log").read_text().split())) == 3


def test_an_interrupt_loses_no_more_than_the_part_in_flight(uninterrupted, tmp_path):
    experiment, log = small_experiment(), tmp_path / "log"

    def stop(n_done: int, n_all: int) -> None:
        if n_done == 10:
            raise KeyboardInterrupt

    with Store(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            execute(experiment.plan, lambda plan: in_parts(experiment, 4), store, LocalLauncher(1), stop)
        assert len(store.missing(experiment.plan.runs())) == 6
        records = execute(experiment.plan, lambda plan: in_parts(experiment, 4, log=log), store, LocalLauncher(1))
    assert [int(n) for n in log.read_text().split()] == [3, 3]
    assert fingerprints(records) == fingerprints(uninterrupted)


def test_what_trains_says_in_how_many_processes_and_the_user_has_the_last_word(monkeypatch):
    experiment = small_experiment()
    seen: list[int] = []

    class Watched(InParts):
        def parts(self, keys: Sequence[RunKey], jobs: int) -> list[list[RunKey]]:
            seen.append(jobs)
            return []

    train = Watched(Trainer(experiment.recipe, experiment.dataset), 4, jobs=1)
    keys = experiment.plan.runs()
    for launcher in (LocalLauncher(), LocalLauncher(2)):
        assert list(launcher.launch(train, keys)) == []
    assert seen == [1, 2]


# By what means.


def fleets(experiment, **means):
    return trainer_by({"engine": "fleet", "fleet_size": 4, "threads": 1, **means}, experiment.recipe, experiment.dataset)


def test_a_fleet_gives_the_records_of_the_single_loop_to_rounding(uninterrupted):
    experiment = small_experiment()
    launched = list(LocalLauncher(1).launch(fleets(experiment), experiment.plan.runs()))
    assert list(map(len, launched)) == [4, 4, 4, 4]
    found = {record.key: record for record in chain.from_iterable(launched)}
    assert len(found) == 16
    for record in uninterrupted:
        mine = found[record.key]
        assert (mine.status, mine.n_steps, mine.threads) == (Status.DONE, record.n_steps, 1)
        assert np.array_equal(mine.test_rows, record.test_rows)
        np.testing.assert_allclose(mine.curves["train_loss"], record.curves["train_loss"], rtol=1e-4)
        assert abs(mine.last.test["loss"] - record.last.test["loss"]) < 1e-4


def test_a_new_plan_keeps_what_was_chosen_and_a_resume_goes_on_by_it(tmp_path):
    def stop(n_done: int, n_all: int) -> None:
        if n_done >= 4:
            raise KeyboardInterrupt

    first = small_experiment(engine="fleet", threads=1)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path, jobs=1, progress=stop)
    with Store(tmp_path) as store:
        means = store.plan().means
        n_kept = 16 - len(store.missing(first.plan.runs()))
    assert 0 < n_kept < 17
    assert (means["engine"], means["fleet_size"], means["threads"], means["jobs"], means["device"]) == ("fleet", 16, 1, None, "cpu")
    assert "a fleet was asked for" in means["why"]
    again = small_experiment(engine="single", threads=2)
    assert len(again.run(tmp_path, jobs=1).records) == 16
    with Store(tmp_path) as store:
        assert store.plan().means == means
    assert {record.threads for record in again.run(tmp_path).records} == {1}
    assert first.plan.differences(again.plan) == []


def test_a_folder_of_before_goes_on_in_the_single_loop(tmp_path, uninterrupted):
    plan = small_experiment().plan
    old = {name: plan.means[name] for name in ("engine", "threads", "versions")}
    with Store(tmp_path) as store:
        store.claim(replace(plan, means=old))
    records = small_experiment(engine="fleet").run(tmp_path, jobs=1).records
    assert fingerprints(records) == fingerprints(uninterrupted)


def test_a_finished_folder_asks_for_no_choice(tmp_path, monkeypatch):
    small_experiment().run(tmp_path, jobs=1)
    monkeypatch.setattr("shrinkwise.experiments.experiment.choose_means", lambda *rest, **more: pytest.fail("it chooses"))
    assert len(small_experiment(engine="auto").run(tmp_path).records) == 16


def test_runs_that_were_begun_on_a_gpu_are_not_finished_without_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SettingError, match="begun on a GPU"):
        fleets(small_experiment(), device="cuda")


# A search, whose runs become known one after another.


def searched(**changes):
    changes = {"conditions": [{}], "variants": grid(l2=[0]), "seeds": 4, "engine": "fleet", "threads": 1} | changes
    return small_experiment(**changes)


def test_a_search_chooses_for_its_first_round_and_goes_on_by_that(tmp_path, monkeypatch):
    asked: list[tuple[int, int]] = []
    real = sw.Experiment.chosen_means

    def watched(self, keys, n_all, jobs):
        asked.append((len(keys), n_all))
        return real(self, keys, n_all, jobs)

    monkeypatch.setattr(sw.Experiment, "chosen_means", watched)
    first = sw.tune(searched(), out=tmp_path, budget=12, layers=0, jobs=1, progress=False)
    with Store(tmp_path) as store:
        means = store.plan().means
    ((n_first, n_all),) = asked
    assert n_all == 12
    assert (means["engine"], means["fleet_size"]) == ("fleet", n_first)
    again = sw.tune(searched(engine="single"), out=tmp_path, budget=12, layers=0, jobs=1, progress=False)
    assert len(asked) == 1
    assert again.lam == first.lam
    alone = sw.tune(searched(engine="single"), budget=12, layers=0, jobs=1, progress=False)
    assert alone.lam == pytest.approx(first.lam, rel=0.2)


def test_a_search_that_trains_nothing_chooses_nothing(monkeypatch):
    monkeypatch.setattr(sw.Experiment, "chosen_means", lambda *rest: pytest.fail("it chooses"))
    optimizer = sw.experiments.engine.NamedOptimizer("adam", lr=1e-3, decay="decoupled")
    sw.tune(searched(optimizer=optimizer), method="prior", progress=False)


def test_strengths_by_layer_are_trained_apart_and_under_their_own_names():
    experiment = searched()
    plain = fleets(experiment)
    layered = replace(plain, recipe=replace(plain.recipe, profile={"layers.0.weight": 1.0}))
    keys = [
        RunKey(Variant(**{"l2": 0.1, "dropout": 0.0, STRENGTHS: kind}), Condition(), seed)
        for seed in (0, 1)
        for kind in (ONE, BY_LAYER)
    ]
    train = _LayeredTrainer(plain, layered)
    assert [[key.variant[STRENGTHS] for key in part] for part in train.parts(keys, 1)] == [[ONE, ONE], [BY_LAYER, BY_LAYER]]
    records = list(chain.from_iterable(LocalLauncher(1).launch(train, keys)))
    assert sorted(keys.index(record.key) for record in records) == [0, 1, 2, 3]
    norms = {record.key: record.weight_norm() for record in records}
    assert all(norms[keys[0]] != norms[key] for key in keys[1:])
