"""``shrinkwise tune``: what it says before, while and after, what it keeps, and one message for each mistake."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from shrinkwise.cli.main import main
from shrinkwise.cli.output import shown_progress
from shrinkwise.experiments.data import digits
from shrinkwise.experiments.spec_tune import FunctionSpec, TuneSpec

DATA = "--data digits --classes 0-1 --epochs 2 --seeds 2 --hidden 4 --jobs 1 --budget 6"
TRAIN = """
import math
import random
import time

print("imported")


def loss_of(lam, seed):
    x = math.log10(max(lam, 1e-7)) + 2
    return 0.3 + 0.01 * seed + 0.02 * x * x + random.Random(str((seed, lam))).gauss(0, 0.001)


def train(trial):
    print("training", trial.seed)
    return loss_of(trial["l2"], trial.seed)


def train_decay(trial):
    return {"val_acc": 1 - loss_of(trial["wd"], trial.seed), "lr": trial["lr"]}


def fail(trial):
    raise ValueError(f"no data for {trial['l2']}")


def words(trial):
    return "good"


def slow(trial):
    time.sleep(0.3)
    return train(trial)


size = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a module of somebody's own, forgotten afterwards."""
    (tmp_path / "own_train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_train", None)


def shrinkwise(line: str, capfd) -> tuple[int, str, str]:
    """Run a command; what it prints is read off the process's own streams."""
    code = main(shlex.split(line))
    out, err = capfd.readouterr()
    return code, out, err


def test_a_function_is_tuned_and_everything_is_kept(capfd, folder):
    code, out, err = shrinkwise("tune own_train:train --seeds 3 --around 0.001 --jobs 1 --out runs/a", capfd)
    assert code == 0
    assert re.search(r"^(Take|Keep) l2 = ", out.strip())
    assert "At most 12 trainings of 3 seeds." in err
    assert "Runs are kept in runs/a." in err
    assert err.index("At most 12") < err.index("training 0")
    assert "Round 1: " in err
    assert "Report: runs/a/report.html" in err
    assert {path.name for path in (folder / "runs/a").iterdir()} == {
        "answer.json",
        "curve.csv",
        "report.html",
        "runs.csv",
        "runs.sqlite",
    }
    document = json.loads((folder / "runs/a/answer.json").read_text())
    assert document["choice"]["lam"] == pytest.approx(0.01, rel=2)
    assert document["choice"]["default"] == 0.001
    assert len(pd.read_csv("runs/a/runs.csv")) == document["cost"]["trainings"] <= 12
    assert list(pd.read_csv("runs/a/curve.csv")) == ["lam", "loss", "low", "high"]
    assert "training 0" not in out
    assert "imported" not in out


@pytest.mark.parametrize("jobs", [1, 2])
def test_json_is_one_document_whatever_the_function_and_its_workers_print(jobs, capfd):
    code, out, err = shrinkwise(f"tune own_train:train --seeds 2 --budget 3 --jobs {jobs} --json", capfd)
    assert code == 0
    document = json.loads(out)
    assert document.keys() >= {"choice", "curve", "cost"}
    assert err.count("training") >= document["cost"]["trainings"]
    assert document["experiment"]["data"] == "train"


def test_data_are_tuned_with_the_flags_of_compare(capfd):
    code, out, err = shrinkwise(f"tune {DATA} --label-noise 0.2 --around 0.01 --json --confirm 2", capfd)
    assert code == 0
    document = json.loads(out)
    assert document["cost"]["trainings"] <= 6
    assert document["cost"]["sample_gradients"] > 0
    assert document["choice"]["unit"] == "half"
    assert document["choice"]["settings"].keys() == {"l2", "dropout"}
    command = document["experiment"]["command"]
    assert command.startswith("shrinkwise tune --data digits --classes 0-1 --label-noise 0.2")
    assert "--around 0.01" in command
    assert (
        "and then 4 more to confirm the choice on 2 fresh seeds (fewer than 6 fresh seeds give an interval and no verdict)." in err
    )
    assert (document["confirmation"] is None) == document["choice"]["keeps_default"]


def test_layers_are_looked_at_and_advice_is_verified(capfd):
    pytest.importorskip("curvlinops")
    line = "tune --data digits --classes 0-1 --epochs 2 --seeds 2 --hidden 4 --jobs 1 --budget 10 --around 0.01"
    code, out, err = shrinkwise(f"{line} --json --out a", capfd)
    assert code == 0
    document = json.loads(out)
    assert [layer["name"] for layer in document["layers"]] == ["layers.0.weight", "layers.1.weight"]
    assert document["layers_cost"]["trainings"] == 2
    assert document["cost"]["trainings"] <= 8
    assert document["verification_cost"] is None
    assert "At most 10 trainings of 2 seeds, 2 of them to look at the layers of the choice." in err
    code, out, err = shrinkwise(f"{line} --layers 1 --verify --out a", capfd)
    assert code == 0
    assert "one more for each clear advice on a layer and seed, to verify it." in err
    assert "layers of the choice (1 training" in out
    assert "there was no advice to verify" in " ".join(out.split()), "one seed has no standard error"
    assert "How many parameters are in use" in Path("a/report.html").read_text()
    _, out, err = shrinkwise(f"{line} --layers 0 --out a", capfd)
    assert "layers.0.weight" not in out
    assert "2 of them" not in err


def test_a_function_shows_no_layers(capfd):
    code, out, _ = shrinkwise("tune own_train:train --seeds 2 --budget 3 --jobs 1 --layers 1", capfd)
    assert code == 0
    assert "a training function shows no network" in " ".join(out.split())


def test_lists_are_searched_jointly(capfd):
    _, out, _ = shrinkwise(f"tune {DATA} --lr 0.05,0.5 --json", capfd)
    document = json.loads(out)
    assert [each["settings"] for each in document["curves"]] == [{"lr": 0.05}, {"lr": 0.5}]
    _, out, _ = shrinkwise(f"tune {DATA} --lr 0.5 --dropout 0.2 --json", capfd)
    document = json.loads(out)
    assert document["curves"] == []
    assert document["choice"]["settings"]["dropout"] == 0.2
    assert document["experiment"]["settings"]["lr"] == 0.5
    both = TuneSpec.read({"data": "digits", "lr": "0.05,0.5", "dropout": "0,0.2"}).tuning()
    assert both["also"] == {"lr": [0.05, 0.5], "dropout": [0, 0.2]}


def test_the_same_command_again_shows_what_is_there_and_a_larger_budget_goes_on(capfd):
    line = "tune own_train:train --seeds 2 --around 0.001 --jobs 1 --json --out a"
    _, first, _ = shrinkwise(f"{line} --budget 8", capfd)
    before = {(run["lam"], run["seed"]) for run in json.loads(first)["runs"]}
    code, second, err = shrinkwise(f"{line} --budget 8", capfd)
    assert code == 0
    assert second == first
    assert "holds some already" in err
    assert "training 0" not in err
    _, more, err = shrinkwise(f"{line} --budget 11", capfd)
    after = {(run["lam"], run["seed"]) for run in json.loads(more)["runs"]}
    assert err.count("training ") == len(after - before) < len(after), "those that were there are not trained again"


def test_the_folder_does_not_hang_on_budget_and_method(capfd, folder):
    for flags in ("--budget 4", "--budget 8 --method sweep"):
        assert shrinkwise(f"tune own_train:train --seeds 2 --jobs 1 {flags}", capfd)[0] == 0
    assert len(list((folder / "runs").iterdir())) == 1


def test_a_setting_of_another_name_and_a_direction(capfd):
    line = "tune own_train:train_decay --name wd --lr 0.1,0.2 --seeds 2 --jobs 1 --metric val_acc --json"
    code, out, _ = shrinkwise(line, capfd)
    assert code == 0
    choice = json.loads(out)["choice"]
    assert (choice["name"], choice["metric"], choice["is_higher_better"]) == ("wd", "acc", True)
    assert choice["settings"].keys() == {"wd", "lr"}


def test_a_toml_file_takes_the_place_of_flags_and_flags_win(capfd, folder):
    (folder / "t.toml").write_text(
        'data = "digits"\nclasses = "0-1"\nepochs = 1\nhidden = 4\nseeds = 3\njobs = 1\nbudget = 6\naround = 0.01\nout = "kept"\n'
    )
    code, out, err = shrinkwise("tune t.toml --seeds 2 --json", capfd)
    assert code == 0
    assert "At most 6 trainings of 2 seeds." in err
    assert json.loads(out)["choice"]["default"] == 0.01
    assert (folder / "kept/runs.sqlite").exists()


MISTAKES = {
    "one λ": (f"tune {DATA} --low 0.1 --high 0.1", ["low and high are both 0.1", "one λ leaves nothing to choose"]),
    "layers of too many seeds": (f"tune {DATA} --layers 3", ["layers is 3", "of which there are 2"]),
    "nothing to verify": (f"tune {DATA} --layers 0 --verify", ["verify is asked for and layers is 0"]),
    "a range upside down": (f"tune {DATA} --low 1 --high 0.1", ["low is 1 and high is 0.1"]),
    "a default outside": (f"tune {DATA} --around 0.5 --high 0.1", ["around is 0.5", "outside of high 0.1"]),
    "a default below": (
        f"tune {DATA} --around 1e-5 --low 1e-4 --high 0.1",
        ["around is 1e-05", "outside of low 0.0001 and high 0.1"],
    ),
    "too small a budget": ("tune --data digits --budget 2", ["budget is 2", "takes at least 3"]),
    "no budget": ("tune --data digits --budget 0", ["budget is '0'", "greater than or equal to 1"]),
    "two conditions": (f"tune {DATA} --label-noise 0,0.2", ["label_noise lists 2 values", "one condition"]),
    "two sizes": (f"tune {DATA} --train-size 100,200", ["train_size lists 2 values"]),
    "a rate twice": (f"tune {DATA} --lr 0.1,0.1", ["lr lists a value twice"]),
    "an unknown method": (f"tune {DATA} --method serch", ["method is 'serch'", "Did you mean 'search'?"]),
    "an unknown rule": (f"tune {DATA} --rule one_se", ["rule is 'one_se'", "id you mean 'one-se'"]),
    "a negative default": (f"tune {DATA} --around -0.1", ["around is '-0.1'"]),
    "a flag of compare alone": (f"tune {DATA} --l2 0,0.1", ["--l2 is no flag"]),
    "no data": ("tune", ["data is missing"]),
    "a metric of another task": (f"tune {DATA} --metric rmse", ["metric is 'rmse'"]),
    "a flag of functions": (f"tune {DATA} --maximize", ["--maximize is given with data"]),
    "a flag of data beside a function": (
        "tune own_train:train --epochs 3",
        ["--epochs is given beside a function"],
    ),
    "evidence for a function": ("tune own_train:train --method evidence", ["method is 'evidence'"]),
    "a function that is none": ("tune own_train:size", ["own_train:size is a int", "cannot be called with a trial"]),
    "a function that is absent": ("tune own_train:trian", ["own_train has no 'trian'", "Did you mean 'train'?"]),
    "a module that is absent": ("tune own_trian:train", ["no module 'own_trian'", "Did you mean 'own_train'?"]),
    "a file of Python without a function": (
        "tune own_train.py",
        ["'own_train.py' is neither a TOML file nor a training function", "package.module:train"],
    ),
    "a name of nothing": ("tune digits", ["'digits' is neither"]),
    "a TOML file that is absent": ("tune none.toml", ["none.toml cannot be read"]),
    "a function that raises": ("tune own_train:fail --seeds 2 --jobs 1", ["ValueError: no data for"]),
    "a function of words": ("tune own_train:words --seeds 2 --jobs 1", ["str"]),
    "both directions": ("tune own_train:train --maximize --minimize", ["maximize and minimize are both given"]),
    "somebody's own files": ("tune own_train:train --jobs 1 --out own", ["own holds report.html", "none of ours"]),
    "unwritable": ("tune own_train:train --jobs 1 --out own_train.py/runs", ["own_train.py/runs"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_message_code_2_and_nothing_written(name, capfd, folder):
    (folder / "own").mkdir()
    (folder / "own" / "report.html").write_text("my own")
    line, said = MISTAKES[name]
    code, out, err = shrinkwise(line, capfd)
    messages = [text for text in err.splitlines() if text.startswith("shrinkwise: ")]
    assert (code, out, len(messages)) == (2, "", 1), err
    assert "Traceback" not in err
    for part in said:
        assert part in messages[0]
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"own", "own_train.py"}
    assert (folder / "own" / "report.html").read_text() == "my own"


def test_all_mistakes_are_said_at_once(capfd):
    code, _, err = shrinkwise("tune --data digits --low 1 --high 0.1 --budget 1 --rule none --epochs 0 --unit halff", capfd)
    assert code == 2
    for said in ("low is 1", "budget is 1", "rule is 'none'", "epochs is '0'", "Did you mean 'half'?"):
        assert said in err
    _, _, err = shrinkwise("tune own_train:train --epochs 3 --optimizer adam --seeds 0", capfd)
    assert [said in err for said in ("--epochs is", "--optimizer is", "seeds is '0'")] == [True] * 3


def test_a_file_may_be_named_as_people_see_it(capfd, folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "own_deep.py").write_text(TRAIN)
    assert shrinkwise("tune own_train.py:train --seeds 2 --budget 3 --jobs 1 --out a", capfd)[0] == 0
    assert shrinkwise("tune deep/own_deep.py:train --seeds 2 --budget 3 --jobs 1 --out b", capfd)[0] == 0
    assert "own_train.py:train raised an error: TypeError: train() missing" in shrinkwise("audit own_train.py:train", capfd)[2]
    for name in ("deep", "deep.own_deep"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("method", ["search", "sweep"])
def test_what_is_there_already_is_shown_without_a_word_of_time(method, capfd):
    line = f"tune own_train:train --seeds 2 --budget 6 --method {method} --jobs 1 --out a --json"
    code, first, err = shrinkwise(line, capfd)
    assert code == 0
    assert " s left" in err
    code, again, err = shrinkwise(line, capfd)
    assert code == 0
    assert json.loads(again)["choice"] == json.loads(first)["choice"]
    assert "which holds some already" in err
    assert " s left" not in err


def test_runs_that_were_there_say_nothing_of_the_time_that_one_takes(capfd, folder, monkeypatch):
    clock = iter([0.0, 7.0])
    monkeypatch.setattr("shrinkwise.cli.output.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with shown_progress(folder, is_most=True) as report:
        for n_done in (0, 8, 8, 9):
            report(n_done, 10)
    assert "9 of 10 runs done, at most 7 s left" in capfd.readouterr().err


def test_why_a_confirmation_failed_is_said(capfd, folder):
    (folder / "own_train.py").write_text(
        TRAIN.replace('    print("training", trial.seed)', "    assert trial.seed < 2, 'no such seed'")
    )
    code, out, err = shrinkwise("tune own_train:train --seeds 2 --budget 6 --jobs 1 --confirm 2", capfd)
    assert code == 0
    assert "4 of 10 runs failed: AssertionError: no such seed" in err
    assert "which could not be compared with the default on fresh seeds" in " ".join(out.split())


def test_a_setting_that_nobody_reads_is_said(capfd):
    code, out, err = shrinkwise("tune own_train:train --lr 0.1,0.2 --seeds 2 --jobs 1", capfd)
    assert (code, out) == (2, "")
    assert "the setting 'lr' is read by nobody" in err


def test_output_streams_are_put_back_after_a_mistake(capfd):
    path = list(sys.path)
    shrinkwise("tune own_train:fail --seeds 2 --jobs 1", capfd)
    os.write(1, b"on standard output")
    assert capfd.readouterr().out == "on standard output"
    assert sys.path == path


@pytest.mark.slow
def test_an_interrupted_search_goes_on(folder):
    command = [sys.executable, "-c", "import sys; from shrinkwise.cli.main import main; sys.exit(main())"]
    line = shlex.split("tune own_train:slow --seeds 2 --budget 6 --jobs 1 --out kept --json")
    with (folder / "err").open("w") as err:
        running = subprocess.Popen([*command, *line], stdout=subprocess.PIPE, stderr=err, text=True, cwd=folder)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "1 of 6 runs done" not in (folder / "err").read_text():
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)
    said = (folder / "err").read_text()
    assert running.returncode == 130, said
    assert out == ""
    assert "The runs that had ended are kept" in said
    assert "Traceback" not in said
    done = subprocess.run([*command, *line], capture_output=True, text=True, check=True, cwd=folder)
    trained = json.loads(done.stdout)["cost"]["trainings"]
    assert "kept, which holds some already" in done.stderr
    assert 0 < done.stderr.count("training ") < trained


def test_help_tells_every_setting(capsys):
    assert main(["tune", "--help"]) == 0
    words = capsys.readouterr().out.replace("│", " ").split()
    settings = {*TuneSpec.model_fields, *FunctionSpec.model_fields}
    assert [name for name in settings if f"--{name.replace('_', '-')}" not in words] == []
    assert "Example: shrinkwise tune --data digits" in " ".join(words)


@pytest.mark.parametrize(
    "settings",
    [
        {"around": 0.001, "low": 1e-5, "high": 0.1, "budget": 24, "rule": "one-se", "confirm": 8, "layers": 3},
        {"lr": [0.01, 0.1], "dropout": [0, 0.5], "train_size": [100], "method": "sweep", "metric": "accuracy"},
    ],
)
def test_the_command_says_everything_and_is_read_back(settings):
    spec = TuneSpec.read({"data": "digits", "classes": "0-1"} | settings)
    words = shlex.split(spec.experiment(digits("0-1")).command)
    assert words[:2] == ["shrinkwise", "tune"]
    given = {flag[2:].replace("-", "_"): value for flag, value in zip(words[2::2], words[3::2], strict=True)}
    assert TuneSpec.read(given) == spec
    assert Path(words[3]).name == "digits"
