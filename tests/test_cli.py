"""The command line: what it prints, what it keeps, and one message for each mistake."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import shrinkwise as sw
from shrinkwise.cli.app import app
from shrinkwise.cli.main import main
from shrinkwise.experiments.spec import Spec
from shrinkwise.experiments.spec_messages import read_toml

QUICK = "--data digits --classes 0-1 --epochs 2 --seeds 2 --hidden 4 --jobs 1"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shrinkwise(line: str, capsys) -> tuple[int, str, str]:
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    return code, out, err


def test_compare_prints_a_verdict_and_keeps_runs_and_report(capsys, tmp_path):
    code, out, err = shrinkwise(f"compare {QUICK} --l2 0,0.1 --out runs/first", capsys)
    assert code == 0
    assert "l2=0.1" in out
    assert "base" in out
    assert "runs/first/report.html" in err.replace("\n", "")
    assert {path.name for path in (tmp_path / "runs/first").iterdir()} >= {
        "answer.json",
        "report.html",
        "runs.csv",
        "runs.sqlite",
        "table.csv",
        "table.md",
    }


def test_compare_prints_json_and_nothing_else_on_standard_output(capsys):
    code, out, _ = shrinkwise(f"compare {QUICK} --l2 0,0.1 --label-noise 0,0.2 --json", capsys)
    assert code == 0
    document = json.loads(out)
    experiment = document["experiment"]
    assert (
        experiment.items()
        >= {"task": "classification", "unit": "half", "decay": "coupled", "seeds": 2, "epochs": 2, "runs": 8}.items()
    )
    assert experiment["classes"] == ["0", "1"]
    assert len(document["table"]) == 4
    assert document["table"][0]["settings"].keys() >= {"l2", "dropout"}
    assert document["table"][0]["metrics"].keys() >= {"accuracy", "loss"}
    assert {row["condition"]["label_noise"] for row in document["table"]} == {0.0, 0.2}
    assert all(c["p"] is None for c in document["comparisons"]), "two seeds are below the floor"
    assert isinstance(document["verdict"], str)


def test_the_same_command_again_shows_what_is_there(capsys):
    line = f"compare {QUICK} --l2 0,0.1 --json"
    _, first, _ = shrinkwise(line, capsys)
    code, second, err = shrinkwise(line, capsys)
    assert code == 0
    assert second == first
    assert "holds all 4 runs already" in " ".join(err.split())


def test_the_printed_command_reproduces_the_experiment(capsys):
    code, _, _ = shrinkwise("demo --epochs 1 --seeds 1 --hidden 4 --jobs 1 --l2 0,0.1 --out a", capsys)
    assert code == 0
    command = Spec.read(
        {
            "data": "digits",
            "classes": "0-4",
            "l2": "0,0.1",
            "dropout": "0,0.5",
            "label_noise": "0,0.2",
            "epochs": 1,
            "seeds": 1,
            "hidden": "4",
        }
    ).command()
    assert command in Path("a/report.html").read_text()
    code, _, err = shrinkwise(f"{command.removeprefix('shrinkwise ')} --out a", capsys)
    assert code == 0
    assert "holds all 8 runs already" in " ".join(err.split())


def test_a_toml_file_takes_the_place_of_flags_and_flags_win(capsys, tmp_path):
    (tmp_path / "e.toml").write_text(
        'data = "digits"\nclasses = "0-1"\nepochs = 1\nseeds = 1\nhidden = 4\nl2 = [0, 0.1, 1]\n'
        'batch-size = 32\nout = "from-toml"\njobs = 1\n'
    )
    code, out, _ = shrinkwise("compare e.toml --seeds 2 --json", capsys)
    assert code == 0
    document = json.loads(out)
    assert document["experiment"]["seeds"] == 2
    assert len(document["table"]) == 3
    assert (tmp_path / "from-toml/runs.sqlite").exists()


def test_all_mistakes_of_a_toml_file_are_said_at_once(capsys, tmp_path):
    (tmp_path / "e.toml").write_text(
        'data = "digits"\nl2 = [-1]\nepoch = 3\nunit = "halff"\noptimizer = "adamw"\ndecay = "coupled"\n'
    )
    code, out, err = shrinkwise("compare e.toml", capsys)
    assert code == 2
    assert out == ""
    for said in (
        "l2 is -1",
        "'epoch' is no setting",
        "Did you mean 'epochs'?",
        "Did you mean 'half'?",
        "decay is coupled under adamw",
    ):
        assert said in err


def write_table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def table_of_runs(**changes: list) -> str:
    columns = {"wd": [0, 0.1] * 3, "seed": [1, 1, 2, 2, 3, 3], "eval_loss": [1.0, 0.9, 1.1, 0.8, 1.0, 0.9]}
    return pd.DataFrame(columns | changes).to_csv(index=False)


def cut_short(folder: Path) -> None:
    folder.mkdir()
    images = np.zeros((10, 4, 4), np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
    labels = bytes([0, 0, 8, 1]) + (10).to_bytes(4, "big") + bytes([0, 1] * 5)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()[:-7]))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


MISTAKES = {
    "unknown flag": ("compare --data digits --lr2 3", ["--lr2", "is no flag", "Did you mean '--lr'"]),
    "unknown flag before any command": ("--versoin", ["--versoin is no flag", "Did you mean '--version'?"]),
    "unknown command": ("compere --data digits", ["'compere' is no command", "Did you mean 'compare'?"]),
    "flag without a value": ("compare --data", ["--data"]),
    "no data": ("compare", ["data is missing"]),
    "negative λ": ("compare --data digits --l2 0,-0.1", ["l2 is '-0.1'", "greater than or equal to 0", "--l2 0,0.01,0.1,1"]),
    "one value that is wrong": ("compare --data digits --l2 0.1 --dropout 0,1.5", ["dropout is '1.5'", "less than 1"]),
    "no jobs": ("compare --data digits --jobs 0", ["jobs is '0'", "greater than or equal to 1"]),
    "momentum of adam": ("compare --data digits --optimizer adam --momentum 0.5", ["momentum is given for adam"]),
    "a form of no dropout": ("compare --data digits --dropout-article", ["no variant has dropout", "--dropout 0,0.5"]),
    "two forms of dropout": (
        "compare --data digits --dropout 0,0.5 --dropout-article --dropout-hold 3",
        ["dropout_article is given beside dropout_hold"],
    ),
    "TOML of words for numbers": ("compare words.toml", ["jobs is 'many'"]),
    "TOML that is no text": ("compare bytes.toml", ["is no TOML"]),
    "auc without a class": ("compare --data noclass.npz --metric auc", ["auc cannot be measured"]),
    "verdict over another answer": (
        "verdict runs.csv --vary wd --metric eval_loss --out taken",
        ["taken holds the answer of another experiment"],
    ),
    "somebody's own files": (f"compare {QUICK} --l2 0,0.1 --out own", ["own holds report.html", "none of ours"]),
    "numbers with commas": ("compare --data commas.csv --target y", ["column 'a' holds '1,5'", "with a point"]),
    "verdict of an unknown status": ("verdict status.csv --vary wd --metric eval_loss", ["row 2", "'lost'"]),
    "verdict of sizes and examples": (
        "verdict runs.csv --vary wd --metric eval_loss --n-train seed --n-test seed --examples seed",
        ["without test_rows"],
    ),
    "λ that is no number": ("compare --data digits --l2 0,much", ["l2 is", "'much'"]),
    "λ that is NaN": ("compare --data digits --l2 0,nan", ["l2 is", "finite number"]),
    "dropout of one": ("compare --data digits --dropout 1", ["dropout is", "less than 1"]),
    "absent class": ("compare --data digits --classes 0-12", ["10"]),
    "more rows than there are": (f"compare {QUICK} --train-size 100000", ["100000 training rows", "Ask for"]),
    "one class": ("compare --data digits --classes 3", ["one class"]),
    "unknown data": ("compare --data digts", ["digts", "id you mean 'digits'"]),
    "IDX cut short": ("compare --data idx", ["idx", "bytes"]),
    "CSV without the target": ("compare --data t.csv --target outcom", ["outcom", "id you mean 'outcome'"]),
    "CSV with one class": ("compare --data one.csv --target y", ["one class"]),
    "noise in a regression": ("compare --data r.csv --target y --label-noise 0.2", ["label_noise", "no labels"]),
    "metric of another task": ("compare --data digits --metric rmse", ["metric is 'rmse'"]),
    "unknown unit": ("compare --data digits --unit Half", ["unit is 'Half'", "Did you mean 'half'?"]),
    "another experiment's folder": (f"compare {QUICK} --l2 0,0.2 --out taken", ["belongs to another experiment"]),
    "unwritable folder": (f"compare {QUICK} --l2 0,0.1 --out r.csv/runs", ["cannot be made"]),
    "TOML that is none": ("compare bad.toml", ["is no TOML"]),
    "TOML that is absent": ("compare none.toml", ["none.toml cannot be read"]),
    "one variant": ("compare --data digits --l2 0 --dropout 0", ["one variant"]),
    "verdict without a column": ("verdict runs.csv --metric eval_loss", ["--vary is missing"]),
    "verdict without the metric": (
        "verdict runs.csv --vary wd --metric evalloss",
        ["no column 'evalloss'", "id you mean 'eval_loss'"],
    ),
    "verdict of unpaired seeds": ("verdict unpaired.csv --vary wd --metric eval_loss", ["seed"]),
    "verdict of doubled seeds": ("verdict doubled.csv --vary wd --metric eval_loss", ["seed"]),
    "verdict of a gap": ("verdict gap.csv --vary wd --metric eval_loss", ["row 2", "no finite number"]),
    "verdict without a direction": ("verdict runs.csv --vary seed --seed wd --metric wd", ["--minimize or --maximize"]),
    "verdict both ways": ("verdict runs.csv --vary wd --metric eval_loss --minimize --maximize", ["contradicts"]),
    "verdict without a base": ("verdict nobase.csv --vary wd --metric eval_loss", ["base", "--base"]),
    "verdict of no file": ("verdict none.csv --vary wd --metric eval_loss", ["none.csv cannot be read"]),
}


@pytest.fixture(scope="module")
def mistaken_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    write_table(folder / "t.csv", "a,outcome\n" + "1,x\n2,y\n" * 20)
    write_table(folder / "one.csv", "a,y\n" + "1,x\n2,x\n" * 20)
    write_table(folder / "r.csv", "a,y\n" + "".join(f"{i},{i * 1.37 + 0.01}\n" for i in range(60)))
    write_table(folder / "bad.toml", "l2 = [0, 0.1\nepochs = = 3")
    write_table(folder / "runs.csv", table_of_runs())
    write_table(folder / "unpaired.csv", table_of_runs(seed=[1, 1, 2, 2, 3, 4]))
    write_table(folder / "doubled.csv", table_of_runs(seed=[1, 1, 2, 2, 2, 2]))
    write_table(folder / "gap.csv", table_of_runs(eval_loss=[1.0, None, 1.1, 0.8, 1.0, 0.9]))
    write_table(folder / "nobase.csv", table_of_runs(wd=[0.1, 0.2] * 3))
    (folder / "own").mkdir()
    write_table(folder / "own" / "report.html", "my own")
    write_table(folder / "commas.csv", "a;y\n" + "1,5;x\n2,25;y\n" * 20)
    write_table(folder / "words.toml", 'data = "digits"\njobs = "many"\n')
    (folder / "bytes.toml").write_bytes(b'data = "\xff\xfe"')
    write_table(folder / "status.csv", table_of_runs(status=["done", "lost", *["done"] * 4]))
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(folder / "noclass.npz", x_train=x, y_train=np.arange(60) % 3, x_test=x[:20], y_test=np.arange(20) % 2)
    cut_short(folder / "idx")
    code = main(shlex.split(f"compare {QUICK} --l2 0,0.1 --out {folder}/taken"))
    assert code == 0
    return folder


def everything_in(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_message_code_2_and_nothing_written(name, mistaken_folder, monkeypatch, capsys):
    monkeypatch.chdir(mistaken_folder)
    before = everything_in(mistaken_folder)
    folders = {path for path in mistaken_folder.rglob("*") if path.is_dir()}
    line, said = MISTAKES[name]
    capsys.readouterr()
    code, out, err = shrinkwise(line, capsys)
    message = [text for text in err.splitlines() if text.startswith("shrinkwise: ")]
    assert code == 2
    assert out == ""
    assert len(message) == 1, err
    assert "Traceback" not in err
    for part in said:
        assert part in message[0]
    assert everything_in(mistaken_folder) == before
    assert {path for path in mistaken_folder.rglob("*") if path.is_dir()} == folders


def test_fewer_seeds_than_the_floor_is_no_mistake(capsys):
    code, out, _ = shrinkwise(f"compare {QUICK} --l2 0,0.1", capsys)
    assert code == 0
    assert "No p is given: with 2 pairs of runs" in " ".join(out.split())


def test_the_version_is_said(capsys):
    code, out, _ = shrinkwise("--version", capsys)
    assert (code, out) == (0, f"shrinkwise {sw.__version__}\n")


def test_a_console_without_our_signs_shows_question_marks(tmp_path):
    """As a Windows console or a C locale has it."""
    command = [sys.executable, "-c", "import sys; from shrinkwise.cli.main import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, *f"compare {QUICK} --l2 0,0.1".split()],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "l2=0.1" in done.stdout


def test_help_of_every_command_gives_an_example(capsys):
    for command in (c.callback.__name__ for c in app.registered_commands if c.callback):
        code, out, _ = shrinkwise(f"{command} --help", capsys)
        assert code == 0
        assert f"Example: shrinkwise {command}" in " ".join(out.split())


def test_every_setting_is_a_flag_with_its_default_in_the_help(capsys):
    _, out, _ = shrinkwise("compare --help", capsys)
    words = out.replace("│", " ").split()
    assert [name for name in Spec.model_fields if f"--{name.replace('_', '-')}" not in words] == []
    assert "(default: 0,0.01,0.1,1)" in " ".join(words)


def test_the_toml_of_the_documentation_is_read(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "quickstart.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "docs.toml").write_text(text)
    spec = Spec.read(read_toml(tmp_path / "docs.toml"))
    assert (spec.target, spec.no_header, spec.l2, spec.dropout) == ("-1", True, [0, 0.001, 0.01, 0.1], [0, 0.2])


@pytest.mark.parametrize(
    "settings",
    [
        {"train_size": [1_000_000], "l2": [0, 0.123456789]},
        {"classes": [0, 1], "target": -1, "no_header": True, "hidden": [64, 32]},
        {"dropout": [0, 0.5], "dropout_article": True, "margin": 0.25, "lr": 1e-5},
    ],
)
def test_the_command_says_everything_and_is_read_back(settings):
    spec = Spec.read({"data": "a b.csv"} | settings)
    words = shlex.split(spec.command())[2:]
    given: dict[str, str | bool] = {}
    for word in words:
        if word.startswith("--"):
            given[word[2:].replace("-", "_")] = True
        else:
            given[list(given)[-1]] = word
    assert Spec.read(given) == spec


def test_every_command_is_in_the_readme():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for command in (c.callback.__name__ for c in app.registered_commands if c.callback):
        assert f"shrinkwise {command}" in readme


def test_only_what_is_kept_is_said_to_be_kept(monkeypatch, capsys):
    from shrinkwise.cli import app, main

    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run", interrupted)
    assert main.main(["convert", "1"]) == 130
    assert "kept" not in capsys.readouterr().err
    assert main.main(["compare"]) == 130
    assert "The runs that had ended are kept" in capsys.readouterr().err
