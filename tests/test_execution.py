"""Plan, store, launch, resume: whatever happens to the process, the records are those of an uninterrupted experiment."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dying import append_for_ever, run_small, run_small_and_die
from shrinkwise.errors import StoreError, WorkerError
from shrinkwise.experiments.data import digits
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.execution import LocalLauncher, OneByOne, Store, Trainer, execute
from shrinkwise.experiments.execution.codec import decode, encode
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.identity import optimizer_identity
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.own_code import code_of
from shrinkwise.experiments.records import Record, RunKey, Status, Variant
from small import fingerprints, small_experiment


@pytest.fixture(scope="module")
def uninterrupted():
    return small_experiment().run(jobs=1).records


SOME = [{"params": [nn.Parameter(torch.zeros(2))], "weight_decay": 0.1}]


def network(variant: Variant, width: int) -> nn.Module:
    return MLPFactory(64, (width,), 2)(variant)


def train(experiment):
    return Trainer(experiment.recipe, experiment.dataset)


def test_a_record_survives_its_code_to_the_last_bit(uninterrupted):
    for record in uninterrupted:
        again = decode(*encode(record))
        assert again.fingerprint() == record.fingerprint()
        assert again.seconds == record.seconds


def test_a_fingerprint_sees_everything_but_times(uninterrupted):
    record = uninterrupted[0]
    assert replace(record, seconds=99.0).fingerprint() == record.fingerprint()
    assert replace(record, lam=record.lam + 1e-12).fingerprint() != record.fingerprint()
    assert replace(record, curves=dict(record.curves, val_loss=(1.0, 2.0, 3.0))).fingerprint() != record.fingerprint()


def test_records_do_not_depend_on_order_number_folder_or_processes(uninterrupted, tmp_path):
    fewer = small_experiment(variants=grid(l2=[0.1, 0], dropout=[0.5]), seeds=[1, 0])
    others = fewer.run(tmp_path / "elsewhere", jobs=2).records
    expected = fingerprints(uninterrupted)
    assert len(others) == 8
    assert fingerprints(others) == {key: expected[key] for key in fingerprints(others)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_launcher_yields_every_record_once(jobs, uninterrupted):
    experiment = small_experiment()
    keys = experiment.plan.runs()[:6]
    expected = fingerprints(uninterrupted)
    found = fingerprints(chain.from_iterable(LocalLauncher(jobs).launch(train(experiment), keys)))
    assert found == {key: expected[key] for key in keys}


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_store_keeps_what_it_was_given(in_memory, tmp_path, uninterrupted):
    plan = small_experiment().plan
    with Store(None if in_memory else tmp_path) as store:
        store.claim(plan)
        assert store.missing(plan.runs()) == plan.runs()
        for record in reversed(uninterrupted):
            store.append([record])
        assert store.missing(plan.runs()) == []
        assert [record.key for record in store.records(plan.runs())] == plan.runs()
        assert fingerprints(store.records(plan.runs())) == fingerprints(uninterrupted)
        assert store.plan() == plan


@pytest.mark.parametrize("most", [2, 500])
def test_what_ended_together_is_kept_whole_or_not_at_all(most, tmp_path, uninterrupted, monkeypatch):
    monkeypatch.setattr("shrinkwise.experiments.execution.store._MOST_NAMES", most)
    keys = small_experiment().plan.runs()
    with Store(tmp_path) as store:
        store.append([replace(uninterrupted[5], status=Status.FAILED, last=None, best_val=None)])
        assert len(store.missing(keys)) == 16
        broken = [*uninterrupted[:9], replace(uninterrupted[9], message=object())]
        with pytest.raises(TypeError, match="not JSON serializable"):
            store.append(broken)
        store.append([])
        assert len(store.missing(keys)) == 16
        # Of two records of one run the later stays, as if they had come one by one.
        store.append([replace(uninterrupted[0], status=Status.FAILED), *uninterrupted])
        assert store.missing(keys) == []
        assert fingerprints(store.records(keys)) == fingerprints(uninterrupted)


def test_a_finished_experiment_is_not_trained_again(tmp_path):
    experiment = small_experiment()
    first = experiment.run(tmp_path, jobs=1).records
    again = small_experiment().run(tmp_path, jobs=1).records
    assert [record.seconds for record in again] == [record.seconds for record in first]


def test_a_failed_run_is_a_status_and_is_trained_again(tmp_path, uninterrupted):
    experiment = small_experiment()
    broken = experiment.plan.runs()[3]

    def fail_once(key: RunKey) -> Record:
        recipe = experiment.recipe
        if key == broken:
            recipe = replace(recipe, optimizer=lambda groups: 1 / 0)
        return Trainer(recipe, experiment.dataset).train(key)

    with Store(tmp_path) as store:
        records = execute(experiment.plan, lambda plan: OneByOne(fail_once), store, LocalLauncher(1))
        assert [record.status for record in records if record.key == broken] == [Status.FAILED]
        assert "ZeroDivisionError" in records[3].message
        assert store.missing(experiment.plan.runs()) == [broken]
    assert fingerprints(experiment.run(tmp_path, jobs=1).records) == fingerprints(uninterrupted)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochs": 4}, "epochs 4 against 3"),
        ({"batch_size": 16}, "batch_size 16 against 64"),
        ({"unit": "sum"}, "unit sum against half"),
        ({"variants": grid(l2=[0, 0.2], dropout=[0, 0.5])}, "variants"),
        ({"variants": grid(l2=[0, 0.1000000001], dropout=[0, 0.5])}, "variants"),
        ({"optimizer": NamedOptimizer("sgd", 0.06)}, "optimizer"),
        ({"optimizer": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9)}, "optimizer"),
        ({"model": MLPFactory(64, (9,), 2)}, "model"),
        ({"model": functools.partial(network, width=9)}, "model"),
        ({"data": digits("0,2")}, "data"),
    ],
)
def test_a_folder_of_another_experiment_is_refused_and_left_alone(change, named, tmp_path):
    small_experiment(seeds=1, conditions=[{}]).run(tmp_path, jobs=1)
    before = (tmp_path / "runs.sqlite").read_bytes()
    with pytest.raises(StoreError, match="belongs to another experiment") as caught:
        small_experiment(**{"seeds": 1, "conditions": [{}]} | change).run(tmp_path, jobs=1)
    assert named in str(caught.value)
    assert (tmp_path / "runs.sqlite").read_bytes() == before


@pytest.mark.parametrize("rate", [0.05, 0.06])
def test_a_value_that_a_factory_closes_over_makes_another_experiment(rate, tmp_path):
    def experiment(lr: float):
        return small_experiment(seeds=1, conditions=[{}], optimizer=lambda groups: torch.optim.SGD(groups, lr=lr))

    experiment(0.05).run(tmp_path, jobs=1)
    if rate == 0.05:
        assert len(experiment(rate).run(tmp_path, jobs=1).records) == 4
    else:
        with pytest.raises(StoreError, match="optimizer"):
            experiment(rate).run(tmp_path, jobs=1)


def test_a_resume_keeps_to_the_thread_count_of_its_plan(tmp_path):
    def stop(n_done: int, n_all: int) -> None:
        if n_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_experiment(threads=1).run(tmp_path, jobs=1, progress=stop)
    records = small_experiment(threads=2).run(tmp_path, jobs=1).records
    assert {record.threads for record in records} == {1}


def test_other_versions_may_show_a_finished_experiment_and_not_finish_one(tmp_path, uninterrupted):
    plan = small_experiment().plan
    newer = replace(plan, means=plan.means | {"versions": {"torch": "99.0"}})
    with Store(tmp_path) as store:
        store.claim(plan)
        with pytest.raises(StoreError, match=r"begun with torch .* you have torch 99\.0"):
            store.claim(newer)
        for record in uninterrupted:
            store.append([record])
        assert store.claim(newer).means == plan.means


def test_an_odd_folder_name_is_the_folder_of_the_store(tmp_path):
    folder = tmp_path / "what?x=1 ä"
    small_experiment(seeds=1).run(folder, jobs=1)
    assert (folder / "runs.sqlite").is_file()


def test_a_worker_that_dies_is_said_and_what_had_ended_is_kept(tmp_path):
    def dying(variant: Variant) -> nn.Module:
        if variant["l2"] == 0.1 and multiprocessing.current_process().name.startswith("Loky"):
            os.kill(os.getpid(), signal.SIGKILL)
        return network(variant, 8)

    experiment = small_experiment(model=dying)
    with pytest.raises(WorkerError, match="it goes on with the runs that are missing"):
        experiment.run(tmp_path, jobs=2)
    assert len(small_experiment(model=dying).run(tmp_path, jobs=1).records) == 16


def test_seeds_can_be_added_to_a_finished_experiment(tmp_path, uninterrupted):
    small_experiment(seeds=1).run(tmp_path, jobs=1)
    seen: list[int] = []
    more = small_experiment(seeds=2).run(tmp_path, jobs=1, progress=lambda n_done, n_all: seen.append(n_done))
    assert seen[0] == 8
    assert fingerprints(more.records) == fingerprints(uninterrupted)
    assert len(small_experiment(seeds=1).run(tmp_path, jobs=1).records) == 8
    assert small_experiment(seeds=1).plan.short_name == small_experiment(seeds=2).plan.short_name


def test_many_runs_are_asked_for_a_few_at_once(uninterrupted, monkeypatch):
    monkeypatch.setattr("shrinkwise.experiments.execution.store._MOST_NAMES", 2)
    with Store(None) as store:
        for record in uninterrupted:
            store.append([record])
        asked = [record.key for record in reversed(uninterrupted[1:])]
        found = store.records([*asked, *asked[:1]])
    assert [record.key for record in found] == [*asked, *asked[:1]]


def test_layout_and_comments_make_no_other_experiment(tmp_path):
    def one(groups):
        return torch.optim.SGD(groups, lr=0.05)

    def other(groups):
        # The same, said at greater length.
        return torch.optim.SGD(
            groups,
            lr=0.05,
        )

    other.__name__ = one.__name__
    assert optimizer_identity(one, one(SOME)) != optimizer_identity(lambda groups: one(groups), one(SOME))
    tree = [code_of(function).replace(b"other", b"one") for function in (one, other)]
    assert tree[0] == tree[1]


def test_the_order_of_variants_is_no_other_experiment(tmp_path):
    small_experiment(seeds=1).run(tmp_path, jobs=1)
    again = small_experiment(seeds=1, variants=grid(l2=[0.1, 0], dropout=[0.5, 0])).run(tmp_path, jobs=1)
    assert len(again.records) == 8


def test_a_file_that_is_no_store_is_said(tmp_path):
    (tmp_path / "runs.sqlite").write_text("this is no database at all, not even nearly" * 40)
    with pytest.raises(StoreError, match=r"file is not a database\. Give another"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "runs")


def started(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process, forked from one in which torch was imported and never ran: quick, and without its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dying"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def lasted(process: BaseProcess) -> None:
    process.join(60)
    assert process.exitcode is not None, "the process hangs"


@pytest.mark.slow
def test_twenty_kills_spread_over_the_run_each_resume_to_the_same_records(tmp_path, uninterrupted):
    def seconds(folder: Path) -> float:
        begun = time.perf_counter()
        lasted(started(run_small, folder))
        return time.perf_counter() - begun

    whole = min(seconds(tmp_path / f"timed-{i}") for i in range(3))
    n_killed = 0
    for i in range(20):
        folder = tmp_path / str(i)
        process = started(run_small, folder)
        time.sleep(whole * (i + 0.5) / 20)
        process.kill()
        lasted(process)
        n_killed += process.exitcode == -signal.SIGKILL
        assert fingerprints(small_experiment().run(folder, jobs=1).records) == fingerprints(uninterrupted)
    assert n_killed >= 15


@pytest.mark.parametrize("moment", ["insert", "commit"])
@pytest.mark.parametrize("n_before", [0, 1, 7])
def test_a_kill_inside_a_transaction_leaves_no_half_record(moment, n_before, tmp_path, uninterrupted):
    process = started(run_small_and_die, tmp_path, moment, n_before)
    lasted(process)
    assert process.exitcode == -signal.SIGKILL
    assert n_records(tmp_path / "runs.sqlite") == n_before
    assert fingerprints(small_experiment().run(tmp_path, jobs=1).records) == fingerprints(uninterrupted)


@pytest.mark.slow
def test_twenty_kills_of_a_process_that_does_nothing_but_commit_leave_every_record_whole(tmp_path, uninterrupted):
    """Nearly all its time is spent in SQLite's own writes and syncs, so that is where the kills land."""
    expected = fingerprints(uninterrupted)
    plan = small_experiment().plan
    small_experiment().run(tmp_path, jobs=1)
    for i in range(20):
        process = started(append_for_ever, tmp_path)
        ready = tmp_path / f"ready-{process.pid}"
        while not ready.exists():
            time.sleep(0.01)
        time.sleep(0.01 + 0.013 * i)
        process.kill()
        lasted(process)
        connection = sqlite3.connect(tmp_path / "runs.sqlite")
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        connection.close()
        with Store(tmp_path) as store:
            assert fingerprints(store.records(plan.runs())) == expected


def children_of(pid: int) -> list[int]:
    """Return the processes that ``pid`` started, as Linux lists them."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def n_records(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("select count(*) from records").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are listed as Linux lists them")
def test_a_killed_command_leaves_no_workers_and_goes_on(tmp_path):
    line = "compare --data digits --classes 0-2 --l2 0,0.1 --hidden 8 --epochs 40 --seeds 8 --jobs 2 --engine single --json --out"
    command = [sys.executable, "-c", "import sys; from shrinkwise.cli.main import main; sys.exit(main())", *line.split()]
    killed = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while n_records(tmp_path / "killed" / "runs.sqlite") < 3:
        assert killed.poll() is None
        time.sleep(0.02)
    workers = children_of(killed.pid)
    killed.kill()
    killed.wait()
    assert len(workers) >= 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the command by twenty seconds"
        time.sleep(0.1)
    answers = []
    for folder in ("killed", "whole"):
        done = subprocess.run([*command, str(tmp_path / folder)], capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        answer["experiment"].pop("seconds")
        answers.append(answer)
        if folder == "killed":
            assert "going on from there" in " ".join(done.stderr.split())
    assert answers[0] == answers[1]


def test_a_plan_of_another_version_is_said(tmp_path):
    small_experiment(seeds=1).run(tmp_path, jobs=1)
    connection = sqlite3.connect(tmp_path / "runs.sqlite")
    connection.execute("update plan set document = ?", ('{"variants": []}',))
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="another version of Shrinkwise"):
        small_experiment(seeds=1).run(tmp_path, jobs=1)
