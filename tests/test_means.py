"""By what runs are trained: chosen once with a plan, and fitted to the processes and the memory of each call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shrinkwise.experiments.execution import Store, chooser, fitted, means
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.tuning.tuning import Tuning, tune
from small import fingerprints, small_experiment

MB = 10**6
FLEET: dict[str, Any] = {"engine": "fleet", "fleet_size": 16, "bytes_per_run": MB, "threads": 1, "device": "cpu", "why": "so"}
SINGLE: dict[str, Any] = {"engine": "single", "fleet_size": None, "bytes_per_run": None, "threads": 1, "device": "cpu", "why": "so"}
SEARCHED: dict[str, Any] = {"variants": grid(l2=[0]), "conditions": [{}], "epochs": 2, "threads": 1}


class Means:
    """Keeps what it is told, and lets nobody train if that is enough."""

    def __init__(self, *, is_enough: bool) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.is_enough = is_enough

    def __call__(self, means: Mapping[str, Any]) -> None:
        self.told.append(means)
        if self.is_enough:
            raise KeyboardInterrupt


def kept_in(folder: Any) -> Mapping[str, Any]:
    with Store(folder) as store:
        plan = store.plan()
    assert plan is not None
    return plan.means


@pytest.fixture
def four_cores(monkeypatch):
    for module in (chooser, means):
        monkeypatch.setattr(module, "n_cores", lambda: 4)


@given(
    size=st.integers(1, 200),
    each=st.integers(1, 10**9),
    memory=st.integers(1, 10**11),
    kept=st.one_of(st.none(), st.integers(1, 8)),
    asked=st.one_of(st.none(), st.integers(1, 8)),
)
def test_a_call_takes_no_more_memory_than_it_was_given(size, each, memory, kept, asked):
    plan = FLEET | {"fleet_size": size, "bytes_per_run": each, "jobs": kept}
    found = fitted(plan, jobs=asked, memory_bytes=memory)
    jobs, fits = found["jobs"], memory // each
    assert 1 <= found["fleet_size"] <= size
    assert jobs == asked if asked else jobs <= max(1, fits)
    # A run at a time in each process that was asked for is the least that there is.
    assert found["fleet_size"] * jobs <= max(fits, jobs)
    assert found["fleet_size"] == min(size, max(1, fits // jobs))
    assert (found["why"] == "so") is (found["fleet_size"] == size)
    untouched = plan.keys() - {"jobs", "fleet_size", "why"}
    assert {name: found[name] for name in untouched} == {name: plan[name] for name in untouched}


@pytest.mark.parametrize(
    ("plan", "asked", "expected"),
    [
        (FLEET | {"jobs": 2}, None, 2),
        (FLEET | {"jobs": 2}, 3, 3),
        (FLEET | {"jobs": None}, None, 4),
        (FLEET | {"jobs": None, "threads": 3}, None, 1),
        (SINGLE | {"jobs": None, "threads": 2}, None, 2),
        (SINGLE | {"jobs": 1}, None, 1),
        (SINGLE, 2, 2),
    ],
)
def test_processes_are_those_asked_for_or_those_of_the_plan_or_as_many_as_there_are_cores_for(plan, asked, expected, four_cores):
    assert fitted(plan, jobs=asked, memory_bytes=10**12)["jobs"] == expected


def test_one_process_has_the_gpu_and_a_plan_of_one_that_is_not_here_stays_as_it_is(monkeypatch):
    plan = FLEET | {"jobs": None, "device": "cuda"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert fitted(plan, jobs=None, memory_bytes=10**12)["jobs"] == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert fitted(plan, jobs=None, memory_bytes=None) == plan


def test_half_of_what_is_free_is_the_memory_where_none_is_given(monkeypatch):
    monkeypatch.setattr(chooser, "free_bytes", lambda device: 10 * MB)
    found = fitted(FLEET, jobs=1, memory_bytes=None)
    assert (found["fleet_size"], found["why"]) == (5, "so; by now no more than 5 at a time fit into memory in each process")


def test_less_memory_on_a_resume_takes_smaller_fleets_and_leaves_the_plan(tmp_path):
    first = small_experiment(engine="fleet", threads=1)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path, jobs=1, progress=False, on_means=Means(is_enough=True))
    kept = kept_in(tmp_path)
    assert (kept["fleet_size"], kept["bytes_per_run"] > 1000) == (16, True)
    parts: list[int] = []
    seen = Means(is_enough=False)
    small = small_experiment(engine="fleet", threads=1)
    # Three runs of this network are less than what may be asked for in words.
    small.memory_bytes = 3 * kept["bytes_per_run"]
    real = small.trainer

    def watched(plan):
        train = real(plan)
        parts.append(train.size)
        return train

    small.trainer = watched  # type: ignore[method-assign]
    records = small.run(tmp_path, jobs=1, progress=False, on_means=seen).records
    assert len(records) == 16
    assert parts == [3]
    assert [means["fleet_size"] for means in seen.told] == [3]
    assert kept_in(tmp_path) == kept
    whole = {record.key: record for record in first.run(jobs=1, progress=False).records}
    for record in records:
        assert math.isclose(record.last.test["loss"], whole[record.key].last.test["loss"], rel_tol=1e-4)


@pytest.mark.parametrize("engine", ["single", "fleet", "auto"])
def test_a_number_of_processes_is_of_one_call(engine, tmp_path, four_cores):
    for asked, expected in ((3, 3), (None, 4), (2, 2)):
        seen = Means(is_enough=True)
        with pytest.raises(KeyboardInterrupt):
            small_experiment(engine=engine, threads=1).run(tmp_path, jobs=asked, progress=False, on_means=seen)
        assert [means["jobs"] for means in seen.told] == [expected]
        assert kept_in(tmp_path)["jobs"] is None


@pytest.mark.parametrize("engine", ["single", "fleet"])
def test_by_what_it_is_trained_is_told_before_the_first_run_is(engine):
    seen: list[Any] = []
    small_experiment(engine=engine, threads=1).run(
        jobs=1, progress=lambda n_done, n_all: seen.append(n_done), on_means=lambda means: seen.append(means["engine"])
    )
    assert seen[:2] == [0, engine]
    assert seen[2:] == list(range(1, 17))


def test_a_search_tells_it_once_and_before_its_first_run(tmp_path):
    for n_first in (0, 4):
        tuning = Tuning(small_experiment(**SEARCHED, engine="fleet"), around=0.01, budget=8, seeds=2, layers=0)
        seen: list[Any] = []
        tuning.run(
            tmp_path,
            jobs=1,
            progress=lambda n_done, n_all, seen=seen: seen.append(n_done),
            on_means=lambda means, seen=seen: seen.append(means["engine"]),
        )
        assert seen[:2] == [n_first, "fleet"]
        assert seen.count("fleet") == 1


@pytest.mark.parametrize("confirm", [0, 1])
def test_the_page_and_the_result_of_a_search_say_by_what_it_was_trained(confirm, tmp_path):
    found = {}
    for engine in ("fleet", "single"):
        experiment = small_experiment(**SEARCHED | {"threads": None}, engine=engine)
        found[engine] = tune(experiment, around=30, budget=8, seeds=2, layers=0, confirm=confirm, jobs=1, progress=False)
    fleet, single = found["fleet"], found["single"]
    studies = [fleet.study] + ([fleet.confirmation.study] if confirm else [])
    for study in studies:
        assert study.settings["engine"].startswith("fleets of at most ")
    assert fleet.document()["experiment"]["settings"]["engine"].startswith("fleets of at most ")
    assert "fleets of at most " in fleet.report(tmp_path / "page.html").read_text()
    assert "engine" not in single.study.settings
    assert fleet.lam == pytest.approx(single.lam, rel=0.1)


def test_what_was_finished_is_told_as_it_was_trained(tmp_path):
    first = small_experiment(engine="fleet", threads=1)
    records = first.run(tmp_path, jobs=1, progress=False).records
    seen = Means(is_enough=False)
    again = small_experiment(engine="single").run(tmp_path, jobs=1, progress=False, on_means=seen)
    assert fingerprints(again.records) == fingerprints(records)
    assert [(means["engine"], means["fleet_size"]) for means in seen.told] == [("fleet", 16)]
