"""Which way of training is taken: a pure function of measured times, and what measuring costs and leaves."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shrinkwise.errors import ModelError
from shrinkwise.experiments.data import cut
from shrinkwise.experiments.engine import memory, timing
from shrinkwise.experiments.engine.calibration import choose
from shrinkwise.experiments.engine.timing import Stopwatch, n_steps
from shrinkwise.experiments.engine.ways import SIZES, Asked, Timed, Work, decide
from shrinkwise.experiments.execution.means import choose_means
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.records import Status
from small import small_experiment

LARGE = Work(n_runs=160, n_steps=3_000, batch=160, together=160)
"""Under 400 µs a step and run, 192 s of one core."""
MICRO = 1e-6


@dataclass
class Machine:
    """A machine whose times are given, in microseconds a step and run, and whose clock goes on as much as measuring takes."""

    loop: float = 400.0
    wide_loop: float = 2_000.0
    fleets: dict[tuple[int, int], float] = field(default_factory=dict)
    elsewhere: float = 1_000.0
    now: float = 0.0
    measured: list[tuple[int | None, int]] = field(default_factory=list)

    def measure(self, size: int | None, threads: int, most_s: float) -> Timed:
        self.measured.append((size, threads))
        alone = self.loop if threads == 1 else self.wide_loop
        run_step_s = MICRO * (alone if size is None else self.fleets.get((size, threads), self.elsewhere))
        timed = Timed(size, threads, 0.0, run_step_s * (size or 1))
        self.now += timing.TIMED_STEPS * timed.step_s
        return timed

    def choose(self, work: Work = LARGE, **asked):
        return choose(work, Asked(**{"cores": 2} | asked), self.measure, clock=lambda: self.now)


def times(*run_steps: float, threads: int = 1) -> dict[tuple[int, int], float]:
    return {(size, threads): run_step for size, run_step in zip(SIZES, run_steps, strict=False)}


@pytest.mark.parametrize(
    ("machine", "work", "asked", "way"),
    [
        (Machine(fleets=times(200, 150, 120, 90, 100)), LARGE, {}, ("fleet", 32, 1, 2)),
        # Within 5 % the smaller one: records come earlier.
        (Machine(fleets=times(200, 122, 120, 121, 122, 123)), LARGE, {}, ("fleet", 8, 1, 2)),
        # No faster at 16 than at 8: whether 32 would be is not tried.
        (Machine(fleets=times(200, 120, 120, 60)), LARGE, {}, ("fleet", 8, 1, 2)),
        (Machine(fleets=times(420, 400, 380, 380)), LARGE, {}, ("single", None, 1, 2)),
        # Faster by less than what measuring may be wrong by.
        (Machine(fleets=times(370, 370)), LARGE, {}, ("single", None, 1, 2)),
        # 20 runs are two fleets of ten and not one of 16 and a rest.
        (Machine(fleets=times(200, 150, 40)), Work(20, 20_000, 20, 20), {"jobs": 2}, ("fleet", 16, 1, 2)),
        (Machine(fleets=times(420, 400, 380, 380)), LARGE, {"engine": "fleet"}, ("fleet", 16, 1, 2)),
        # Threads of one process against processes of one thread.
        (Machine(fleets=times(200, 200, 200) | times(90, 90, 90, threads=2)), LARGE, {}, ("fleet", 8, 2, 1)),
        (Machine(fleets=times(200, 200, 200) | times(150, 150, 150, threads=2)), LARGE, {}, ("fleet", 4, 1, 2)),
        (
            Machine(fleets=times(200, 200, 200) | times(90, 90, 90, threads=2)),
            LARGE,
            {"are_threads_quick": False},
            ("fleet", 4, 1, 2),
        ),
        # What is given is kept to.
        (Machine(fleets=times(200, 150, 120, 120)), LARGE, {"jobs": 1}, ("fleet", 16, 1, 1)),
        (Machine(fleets=times(100, 100) | times(300, 200, threads=2)), LARGE, {"threads": 2}, ("fleet", 8, 2, 1)),
        (Machine(), LARGE, {"engine": "single"}, ("single", None, 1, None)),
        (Machine(), LARGE, {"engine": "single", "jobs": 3, "threads": 2}, ("single", None, 2, 3)),
        # Memory for 12 runs is memory for 6 in each of two processes: 4 is the largest size that was measured and fits.
        (
            Machine(fleets=times(200, 150, 120, 120)),
            replace(LARGE, bytes_per_run=100),
            {"memory_bytes": 1_299.0, "jobs": 2},
            ("fleet", 4, 1, 2),
        ),
        # Eight runs a round: no fleet is larger, and two processes have four each.
        (Machine(fleets=times(100, 100)), Work(320, 3_000, 8, 8), {}, ("fleet", 4, 1, 2)),
        # Little work: a further process would not have begun before it was done.
        (Machine(), Work(8, 1_000, 8, 8), {}, ("single", None, 1, 1)),
        # Measuring would take too large a part of the work.
        (Machine(loop=400), Work(6, 1_000, 6, 6), {}, ("single", None, 1, 1)),
    ],
)
def test_the_fastest_way_is_taken_and_the_single_loop_in_doubt(machine, work, asked, way):
    found = replace(machine).choose(work, **asked)
    assert (found.engine, found.size, found.threads, found.jobs) == way, found.why


@pytest.mark.parametrize(
    ("work", "asked", "why"),
    [
        (replace(LARGE, n_runs=1, batch=1, together=1), {}, "there is one run"),
        (replace(LARGE, alone="LBFGS takes closures"), {}, "its runs cannot be trained together: LBFGS takes closures"),
        (replace(LARGE, batch=1, together=1), {}, "its runs are asked for one by one, or take different numbers of rows"),
        (replace(LARGE, bytes_per_run=2**20), {"memory_bytes": 2**20}, "two runs at once do not fit into memory, 1 MiB"),
        (LARGE, {"engine": "single"}, "it was asked for"),
        (Work(10, 15, 10, 10), {}, "150 steps are too few to measure any"),
        (
            LARGE,
            {"engine": "fleet", "jobs": 2, "threads": 1},
            "a fleet was asked for, of 16 runs without measuring: threads and processes were given",
        ),
    ],
)
def test_nothing_is_measured_where_nothing_is_to_be_chosen(work, asked, why):
    machine = Machine()
    assert machine.choose(work, **asked).why == why
    assert machine.measured == []


def test_the_words_say_what_was_measured():
    assert Machine(fleets=times(200, 150, 120, 90, 100)).choose().why == (
        "400 µs a step and run in the single loop, 90 µs in a fleet of 32 on 1 thread; "
        "all 160 runs in about 31 s as fleets in 2 processes, 2 min in the loop"
    )


def test_a_loop_whose_steps_gain_by_threads_needs_no_further_process():
    few = Work(8, 100, 8, 8)
    machine = Machine(loop=10_000, wide_loop=5_500, elsewhere=1e6)
    way = machine.choose(few)
    assert (way.engine, way.threads, way.jobs) == ("single", 2, 1)
    # Two processes would have to be begun: whatever one thread takes, nothing is gained by them.
    assert machine.measured == [(None, 2)]
    assert Machine(loop=10_000, wide_loop=9_000, elsewhere=1e6).choose(Work(800, 100, 800, 800)).threads == 1


def test_several_threads_have_to_be_clearly_faster_than_one():
    assert Machine(loop=1_000, wide_loop=950, elsewhere=1e6).choose(jobs=1).threads == 1
    assert Machine(loop=1_000, wide_loop=850, elsewhere=1e6).choose(jobs=1).threads == 2


def test_larger_fleets_are_not_measured_once_they_get_slower():
    machine = Machine(fleets=times(200, 150, 190, 10, 10, 10) | times(300, 320, threads=2))
    machine.choose()
    assert machine.measured == [(None, 2), (None, 1), (4, 1), (8, 1), (16, 1), (16, 2)]


@given(st.floats(10, 1e5), st.floats(1, 1e5), st.integers(2, 500), st.integers(1, 20_000), st.integers(1, 64))
def test_measuring_takes_a_small_part_of_the_work_or_what_nobody_notices(loop, fleet, n_runs, steps, cores):
    machine = Machine(loop=loop, wide_loop=loop, elsewhere=fleet)
    work = Work(n_runs, steps, n_runs, n_runs)
    machine.choose(work, cores=cores)
    single = Timed(None, 1, 0.0, loop * MICRO)
    whole = min(single.seconds(work, jobs) for jobs in (1, min(cores, n_runs)))
    n_loops = sum(size is None for size, _ in machine.measured)
    fleets = [size for size, _ in machine.measured if size]
    # What a measurement will take is known only when it has been taken: the last may be longer than was expected of it.
    last = fleets[-1] * timing.TIMED_STEPS * fleet * MICRO if fleets else 0.0
    spent = machine.now - n_loops * timing.TIMED_STEPS * loop * MICRO
    assert spent - last <= max(0.04 * whole, 0.3) + 1e-9


@settings(max_examples=60)
@given(st.data())
def test_the_choice_is_never_slower_by_its_own_measurements_and_keeps_to_what_is_given(data):
    whole = st.integers(1, 300)
    batch = data.draw(whole)
    work = Work(
        batch * data.draw(st.integers(1, 5)), data.draw(st.integers(1, 10_000)), batch, batch, data.draw(st.integers(1, 50))
    )
    asked = Asked(
        threads=data.draw(st.none() | st.integers(1, 4)),
        jobs=data.draw(st.none() | st.integers(1, 8)),
        memory_bytes=data.draw(st.integers(50, 10_000)),
        cores=data.draw(st.integers(1, 16)),
    )
    seconds = st.floats(1e-5, 1e-1)
    single = Timed(None, asked.threads or 1, data.draw(seconds), data.draw(seconds))
    fleets = [
        Timed(size, threads, data.draw(seconds), data.draw(seconds))
        for size in data.draw(st.lists(st.sampled_from(SIZES), max_size=3, unique=True))
        for threads in asked.threads_of_fleet()
    ]
    way = decide(work, asked, single, fleets)
    loop_s = min(single.seconds(work, jobs) for jobs in asked.jobs_for(single.threads, work))
    assert asked.threads in (None, way.threads)
    assert way.jobs == min(asked.jobs or way.jobs, batch)
    if way.engine == "fleet":
        (taken,) = [timed for timed in fleets if (timed.size, timed.threads) == (way.size, way.threads)]
        assert taken.seconds(work, way.jobs) <= 0.9 * loop_s
        assert min(way.jobs * way.size, work.n_runs) * work.bytes_per_run <= asked.memory_bytes
        is_given = asked.threads and asked.jobs
        assert is_given or way.threads * way.jobs <= max(asked.cores, asked.threads or 1, asked.jobs or 1)


def test_a_network_that_cannot_be_measured_is_left_to_the_single_loop():
    def broken(size, threads, most_s):
        raise ModelError("the network gives a tuple", "logits are read from it", "return one tensor")

    way = choose(LARGE, Asked(), broken)
    assert (way.engine, way.size, way.jobs) == ("single", None, None)
    assert way.why.startswith("measuring ended with ModelError: the network gives a tuple")
    assert choose(LARGE, Asked(engine="fleet"), broken).engine == "fleet"


# What measures.


@pytest.fixture
def watched():
    experiment = small_experiment()
    keys = experiment.plan.runs()
    return experiment.recipe, cut(experiment.dataset, keys[0].condition, 0), keys


def test_a_stopwatch_tells_steps_from_what_a_training_takes_beside_them(watched, monkeypatch):
    recipe, split, keys = watched
    now, disturbances = 0.0, iter([0.3, 0.0, 0.0, 0.0, 0.0, 0.5])

    def train_fleet(recipe, runs, size):
        nonlocal now
        now += 2.0
        for epoch in range(1, recipe.epochs + 1):
            now += 0.25 * n_steps(replace(recipe, epochs=1), len(runs[0][0].y_train)) + next(disturbances)
            for _ in runs:
                recipe.on_epoch(epoch)
        pytest.fail("it goes on to the end")
        yield

    monkeypatch.setattr(timing, "train_fleet", train_fleet)
    monkeypatch.setattr(timing, "summary", lambda *rest: None)
    timed = Stopwatch(recipe, split, keys, clock=lambda: now)(4, 1)
    assert (timed.size, timed.threads, timed.end_s) == (4, 1, 0.0)
    assert (timed.begin_s, timed.step_s) == (pytest.approx(2.3), pytest.approx(0.25))


def test_a_fleet_of_several_structures_is_not_timed_as_if_it_were_one(watched, monkeypatch):
    recipe, split, keys = watched
    now = 0.0

    def train_fleet(recipe, runs, size):
        nonlocal now
        for epoch in range(1, recipe.epochs + 1):
            now += n_steps(replace(recipe, epochs=1), len(runs[0][0].y_train))
            for _ in runs[: len(runs) // 2]:
                recipe.on_epoch(epoch)
        yield

    monkeypatch.setattr(timing, "train_fleet", train_fleet)
    assert Stopwatch(recipe, split, keys, clock=lambda: now)(8, 1).run_step_s == pytest.approx(1 / 4)


def draws_as_it_is_made(groups):
    return torch.optim.SGD(groups, lr=float(torch.rand(())) + random.random() + float(np.random.rand()))  # noqa: NPY002


@pytest.mark.parametrize("size", [None, 4])
def test_measuring_leaves_no_trace(watched, size):
    recipe, split, keys = watched
    recipe = replace(recipe, optimizer=draws_as_it_is_made)
    drawn_by_numpy = np.random.get_state
    before = (torch.get_rng_state(), drawn_by_numpy()[1].copy(), random.getstate(), torch.get_num_threads())
    rows = split.x_train.copy()
    timed = Stopwatch(recipe, split, keys)(size, 2)
    assert (timed.size, timed.threads) == (size, 2)
    assert timed.step_s > 0
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(drawn_by_numpy()[1], before[1])
    assert (random.getstate(), torch.get_num_threads()) == before[2:]
    assert np.array_equal(split.x_train, rows)


def test_a_fault_of_the_users_network_ends_measuring_and_is_told(watched):
    recipe, split, keys = watched
    broken = replace(recipe, optimizer=lambda groups: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        Stopwatch(broken, split, keys)(4, 1)


def test_whoever_looks_at_epochs_sees_each_and_changes_nothing(watched):
    from shrinkwise.experiments.engine import train_one

    recipe, split, keys = watched
    seen: list[int] = []
    record = train_one(replace(recipe, on_epoch=seen.append), split, keys[0])
    assert seen == [1, 2, 3]
    assert record.fingerprint() == train_one(recipe, split, keys[0]).fingerprint()
    assert record.status is Status.DONE


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_threads_are_tried_only_where_they_multiply_matrices_faster(factor):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0 if torch.get_num_threads() == 1 else factor
        return now

    before = torch.get_num_threads()
    assert timing.are_threads_quick(2, clock) is (factor < 1)
    assert torch.get_num_threads() == before


# What there is.


def test_free_memory_is_that_of_the_machine_and_within_a_containers_limit(tmp_path):
    assert 2**20 < memory.free_bytes("cpu") < 2**60
    left = partial(memory._left_in_container, tmp_path)
    assert left() is None
    (tmp_path / "memory.current").write_text("300\n")
    for limit, expected in (("max\n", None), ("1000\n", 700), ("200\n", 0)):
        (tmp_path / "memory.max").write_text(limit)
        assert left() == expected


def test_means_name_everything_that_was_chosen(monkeypatch):
    experiment = small_experiment(variants=grid(l2=[0, 0.1]), conditions=grid(train_size=[40, 60, None]))
    seen: list[tuple[Work, Asked]] = []

    def asked_for(work, asked, measure):
        seen.append((work, asked))
        return choose(work, replace(asked, engine="single"), measure)

    monkeypatch.setattr("shrinkwise.experiments.execution.means.choose", asked_for)
    keys = experiment.plan.runs()
    means = choose_means(experiment.recipe, experiment.dataset, keys, 40, engine="auto", threads=None, jobs=2, memory_bytes=10**6)
    assert set(means) == {"engine", "fleet_size", "bytes_per_run", "threads", "jobs", "device", "why"}
    ((work, asked),) = seen
    # Three epochs of one, one and four batches of 64, each for as many runs.
    n_batches = [math.ceil(n / 64) for n in (40, 60, len(cut(experiment.dataset, keys[-1].condition, 0).y_train))]
    assert (work.n_runs, work.batch, work.together) == (40, 12, 4)
    assert work.n_steps == math.ceil(3 * sum(n_batches) / 3)
    assert work.bytes_per_run > cut(experiment.dataset, keys[0].condition, 0).x_train.nbytes / 4
    assert (asked.jobs, asked.memory_bytes) == (2, 10**6)
