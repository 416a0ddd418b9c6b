"""How runs are trained, as the command line says it: flags, messages, what is shown and where it is kept."""

from __future__ import annotations

import json
import shlex

import pytest

from shrinkwise.cli.main import main
from shrinkwise.cli.output import say_means
from shrinkwise.experiments.spec import Spec
from shrinkwise.experiments.spec_tune import TuneSpec
from shrinkwise.regularization.strength.schedules import Cosine, InEpochs, Linear

QUICK = "--data digits --classes 0-1 --epochs 2 --seeds 2 --hidden 4 --jobs 1"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shrinkwise(line: str, capsys) -> tuple[int, str, str]:
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def test_compare_crosses_l1_with_the_others_and_lists_what_is_not_its_default(capsys):
    line = f"compare {QUICK} --l2 0,0.1 --l1 0,0.01 --schedule cosine --lr-schedule linear --patience 1 --engine single --json"
    code, out, _ = shrinkwise(line, capsys)
    assert code == 0
    document = json.loads(out)
    assert [row["settings"] for row in document["table"]] == [
        {"l2": l2, "l1": l1, "dropout": 0} for l1 in (0, 0.01) for l2 in (0, 0.1)
    ]
    settings = document["experiment"]["settings"]
    assert (
        settings.items()
        >= {
            "l1": "mean loss + λ·Σ|w|",
            "schedule": "Cosine(n_epochs=2, end=0.0)",
            "lr_schedule": "Linear(n_epochs=2, end=0.0)",
            "patience": 1,
        }.items()
    )
    assert "--l1 0,0.01" in document["experiment"]["command"]
    assert "--patience 1 --schedule cosine --lr-schedule linear" in document["experiment"]["command"]


def test_without_l1_no_variant_speaks_of_it(capsys):
    code, out, _ = shrinkwise(f"compare {QUICK} --l2 0,0.1 --json", capsys)
    assert code == 0
    document = json.loads(out)
    assert {frozenset(row["settings"]) for row in document["table"]} == {frozenset(["l2", "dropout"])}
    assert not document["experiment"]["settings"].keys() & {"l1", "schedule", "lr_schedule", "patience"}


def test_the_engine_is_said_where_it_is_asked_for_and_kept_with_the_runs(capsys):
    line = f"compare {QUICK} --l2 0,0.1 --out kept"
    code, _, err = shrinkwise(f"{line} --engine single --verbose", capsys)
    assert code == 0
    assert "Trained by engine single" in err
    code, _, err = shrinkwise(f"{line} --engine auto --verbose --device cpu --memory 1GB", capsys)
    assert code == 0
    assert "holds all 4 runs already" in err
    assert "Trained by engine single" in err
    code, _, err = shrinkwise(line, capsys)
    assert "Trained by" not in err


LINES = {
    "compare": f"compare {QUICK} --l2 0,0.1",
    "demo": f"demo {QUICK} --l2 0,0.1 --dropout 0 --label-noise 0",
    "tune": f"tune {QUICK} --around 0.01 --budget 8 --layers 0",
}


@pytest.mark.parametrize("engine", ["single", "fleet", "auto"])
@pytest.mark.parametrize("command", LINES)
def test_by_what_runs_are_trained_is_said_before_they_are(command, engine, capsys):
    code, out, err = shrinkwise(f"{LINES[command]} --engine {engine} --verbose --json", capsys)
    assert code == 0, err
    assert json.loads(out)["experiment"]
    assert err.count("Trained by engine ") == 1
    assert err.index("Trained by engine ") < err.index("Round 1" if command == "tune" else "runs done")
    assert ", processes 1, device " in err
    # And again, of what is kept.
    code, _, again = shrinkwise(f"{LINES[command]} --engine auto --verbose --json", capsys)
    assert code == 0
    said = err[err.index("Trained by engine ") :].split(". ")[0]
    assert said in again


def test_a_function_is_trained_by_itself_and_says_so(capsys, in_an_empty_folder):
    (in_an_empty_folder / "own_loss.py").write_text("def train(trial):\n    return (trial['l2'] - 0.1) ** 2 + 1\n")
    code, out, err = shrinkwise("tune own_loss:train --budget 8 --seeds 2 --jobs 1 --verbose --json", capsys)
    assert code == 0, err
    assert err.index("Trained by engine function, threads 1, processes 1.") < err.index("Round 1")
    assert "engine" not in json.loads(out)["experiment"]["settings"]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("it was asked for", "Trained by engine fleet, processes 2: it was asked for.\n"),
        ("it ended.", "Trained by engine fleet, processes 2: it ended.\n"),
        ("l2 0.1 ... 0.9 run alone", "Trained by engine fleet, processes 2: l2 0.1 ... 0.9 run alone.\n"),
        (None, "Trained by engine fleet, processes 2.\n"),
    ],
)
def test_a_reason_is_said_as_it_is(why, said, capsys):
    say_means({"engine": "fleet", "threads": None, "jobs": 2, "why": why})
    assert capsys.readouterr().err == said


def test_means_leave_the_demo_where_it_is(capsys, tmp_path, monkeypatch):
    small = {"epochs": 1, "seeds": 1, "hidden": "4", "l2": "0,0.1", "dropout": "0", "label_noise": "0"}
    monkeypatch.setattr("shrinkwise.cli.demo.DEMO", {"data": "digits", "classes": "0-1", **small})
    code, _, _ = shrinkwise("demo --jobs 1 --engine single --device cpu --memory 1GB --verbose", capsys)
    assert code == 0
    assert (tmp_path / "runs/demo/report.html").exists()


def test_tune_takes_them_too(capsys):
    line = f"tune {QUICK} --around 0.01 --budget 8 --layers 0 --engine single --lr-schedule cosine --patience 1 --verbose --json"
    code, out, err = shrinkwise(line, capsys)
    assert code == 0, err
    assert "Trained by engine single" in err
    settings = json.loads(out)["experiment"]["settings"]
    assert settings.items() >= {"lr_schedule": "Cosine(n_epochs=2, end=0.0)", "patience": 1}.items()


@pytest.mark.parametrize("size", [100, None])
def test_a_schedule_lasts_as_long_as_the_run(size):
    for spec in (Spec, TuneSpec):
        given = spec.read({"data": "digits", "train_size": size, "epochs": 7, "schedule": "linear", "lr_schedule": "cosine"})
        recipe = given.experiment().recipe
        assert (recipe.schedule, recipe.lr_schedule) == (InEpochs(Linear(7)), InEpochs(Cosine(7)))
    plain = Spec.read({"data": "digits"}).experiment().recipe
    assert (plain.schedule, plain.lr_schedule, plain.patience) == (None, None, None)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--engine flet", "engine is 'flet': it is none of the choices. Did you mean 'fleet'?"),
        ("--device gpu", "device is 'gpu': it is none of the choices."),
        ("--memory much", "memory is 'much': it is an amount of memory."),
        ("--memory 4", "memory is '4': in bytes that is 4, in which nothing can be trained. Give it with its unit, such as '4GB'"),
        ("--jobs 0", "jobs is '0':"),
        ("--jobs many", "jobs is 'many': it should be a whole number."),
        ("--patience 0", "patience is '0':"),
        ("--patience soon", "patience is 'soon': it should be a whole number."),
        ("--schedule step", "schedule is 'step': it is none of the choices."),
        ("--lr-schedule cosin", "lr_schedule is 'cosin': it is none of the choices. Did you mean 'cosine'?"),
        ("--l1 -1", "l1 is '-1':"),
        ("--l2 0 --l1 0", "l2 and dropout make one variant"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(flags, said, capsys, tmp_path):
    code, out, err = shrinkwise(f"compare {QUICK} {flags}", capsys)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("shrinkwise:") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_are_said_at_once(capsys):
    code, _, err = shrinkwise(f"compare {QUICK} --memory much --engine flet --patience 0", capsys)
    assert code == 2
    assert err.count("shrinkwise:") == 3


def test_a_function_decides_by_itself_how_it_trains(capsys):
    code, _, err = shrinkwise("tune somewhere:train --engine fleet", capsys)
    assert code == 2
    assert "--engine is given beside a function: the function itself decides that" in err


def test_toml_has_the_same_keys(tmp_path, capsys):
    (tmp_path / "e.toml").write_text(
        'data = "digits"\nclasses = "0-1"\nepochs = 2\nseeds = 2\nhidden = 4\njobs = 1\nl2 = [0, 0.1]\nl1 = 0.01\n'
        'lr-schedule = "cosine"\npatience = 1\nengine = "single"\nmemory = 1000000000\nverbose = true\n'
    )
    code, out, err = shrinkwise("compare e.toml --json", capsys)
    assert code == 0, err
    assert "Trained by engine single" in err
    assert {row["settings"]["l1"] for row in json.loads(out)["table"]} == {0.01}


def test_l1_alone_can_be_compared():
    variants = Spec.read({"data": "digits", "l2": "0", "l1": "0,0.1"}).experiment().variants
    assert [variant.name for variant in variants] == ["base", "l1=0.1"]


def test_means_reach_the_experiment():
    for spec in (Spec, TuneSpec):
        given = spec.read({"data": "digits", "engine": "fleet", "memory": "1GB", "device": "cpu"}).experiment()
        assert (given.engine, given.memory_bytes, given.recipe.device) == ("fleet", 10**9, "cpu")
