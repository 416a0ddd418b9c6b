"""``shrinkwise audit``: what it prints, and one message for each mistake."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from shrinkwise.cli.main import main

TRAIN = """
import torch
from torch import nn

def make():
    print("made")
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)

def make_hooked():
    model, optimizer = make()
    optimizer.register_step_post_hook(lambda *_: model[0].weight.data.mul_(0.5))
    return model, optimizer

def make_model():
    return nn.Linear(2, 2)

def make_nothing():
    pass

def make_wrongly():
    raise ValueError("no data here.")

def make_of(size):
    return nn.Linear(size, size)

def make_stale():
    return nn.Linear(2, 2), torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)

def make_all():
    model, optimizer = make()
    model.insert(1, nn.BatchNorm1d(8))
    loss = lambda model, x: model(x).mean() + model[0].weight.abs().sum()
    return {"model": model, "optimizer": optimizer, "inputs": torch.ones(5, 4), "loss": loss}

def make_a_typo():
    return {"model": make_model(), "input": 1}

def make_no_model():
    return {"optimizer": 1}

class Recipe:
    @staticmethod
    def make():
        return make()

def leave():
    raise SystemExit(3)

model = nn.Linear(2, 2)
size = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with modules of somebody's own, forgotten afterwards."""
    (tmp_path / "own_train.py").write_text(TRAIN)
    (tmp_path / "own_broken.py").write_text("import a_library_that_is_absent\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "net.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def shrinkwise(line: str, capsys) -> tuple[int, str, str]:
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    return code, out, err


def test_it_prints_a_table_and_ends_with_0_though_it_warns(capsys):
    code, out, err = shrinkwise("audit own_train:make", capsys)
    assert code == 0
    assert out.startswith("Sequential with AdamW: 6 parameters")
    assert "norm parameters shrink: 1.weight, 1.bias\n" in out
    assert "\x1b" not in out
    assert err == "made\n"


@pytest.mark.parametrize("path", ["./own_train.py", "own_train.py", "own_package/net.py"])
def test_a_file_may_be_named_as_people_see_it(path, capsys):
    code, out, _ = shrinkwise(f"audit {path}:make", capsys)
    assert (code, out.splitlines()[0][:21]) == (0, "Sequential with AdamW")


def test_json_is_all_there_is_on_standard_output(capsys):
    code, out, _ = shrinkwise("audit own_package.net:make --json", capsys)
    assert code == 0
    document = json.loads(out)
    assert document.keys() >= {"parameters", "warnings", "not_checked"}
    assert document["parameters"][0]["measured_shrink"] == pytest.approx(1e-3, rel=1e-3)


def test_exact_runs_the_hooks(capsys):
    _, out, _ = shrinkwise("audit own_train:make_hooked --exact --json", capsys)
    assert json.loads(out)["parameters"][0]["measured_shrink"] == pytest.approx(1 - 0.5 * 0.999, rel=1e-3)
    _, out, _ = shrinkwise("audit own_train:make_hooked", capsys)
    assert "1 step hook of AdamW: exact=True runs them" in out


def test_depth_writes_layers_out(capsys):
    _, folded, _ = shrinkwise("audit own_train:make", capsys)
    _, whole, _ = shrinkwise("audit own_train:make --depth 1", capsys)
    assert "\n[0,2].bias" not in folded.partition("measured\n")[2], "the two biases differ in shape"
    assert "\n0.bias" in whole


def test_a_model_alone_and_a_class_are_audited(capsys):
    assert shrinkwise("audit own_train:make_model", capsys)[1].startswith("Linear: 2 parameters, 6 values.")
    assert shrinkwise("audit torch.nn:Flatten", capsys)[0] == 0


def test_a_dict_gives_inputs_and_a_loss_too(capsys):
    code, out, _ = shrinkwise("audit own_train:make_all --json", capsys)
    assert code == 0
    document = json.loads(out)
    assert document["parameters"][0]["penalty"] == "decay by weight_decay + l1 by loss"
    assert not any("no loss" in reason or "no inputs" in reason for reason in document["not_checked"])


def test_a_factory_may_stand_in_a_class(capsys):
    assert shrinkwise("audit own_train:Recipe.make", capsys)[0] == 0


MISTAKES = {
    "no such name in a class": ("audit own_train:Recipe.mkae", ["Recipe has no 'mkae'", "Did you mean 'make'?"]),
    "a dict with a typing error": ("audit own_train:make_a_typo", ["a dict with 'input'", "Did you mean 'inputs'?"]),
    "a dict without a model": ("audit own_train:make_no_model", ["a dict without 'model'"]),
    "no colon": ("audit own_train", ["'own_train' names no factory", "package.module:factory"]),
    "nothing before it": ("audit :make", ["names no factory"]),
    "no such module": ("audit own_trian:make", ["no module 'own_trian'", "Did you mean 'own_train'?"]),
    "no such module in a package": ("audit own_package.nets:make", ["no module 'own_package.nets'"]),
    "a module that lacks another": ("audit own_broken:make", ["own_broken cannot be imported", "a_library_that_is_absent"]),
    "no such name": ("audit own_train:mkae", ["own_train has no 'mkae'", "Did you mean 'make'?"]),
    "a path of a file that is not there": (
        "audit ./own_trian.py:make",
        ["there is no module 'own_trian'", "Did you mean 'own_train'?"],
    ),
    "no factory": ("audit own_train:size", ["own_train:size is a int", "cannot be called"]),
    "a model where a factory belongs": ("audit own_train:model", ["own_train:model is a Linear"]),
    "a factory that fails": ("audit own_train:make_wrongly", ["raised an error at own_train.py:22: ValueError: no data here. See"]),
    "a factory that asks for something": ("audit own_train:make_of", ["TypeError", "'size'"]),
    "a factory that leaves": ("audit own_train:leave", ["SystemExit: 3"]),
    "a factory of nothing": ("audit own_train:make_nothing", ["returned what cannot be audited, got NoneType"]),
    "another model's optimiser": ("audit own_train:make_stale", ["holds none of the model's parameters"]),
    "a depth below zero": ("audit own_train:make --depth -1", ["depth is -1"]),
    "a depth that is none": ("audit own_train:make --depth all", ["--depth"]),
    "an unknown flag": ("audit own_train:make --exactly", ["--exactly is no flag", "Did you mean '--exact'?"]),
    "no factory at all": ("audit", ["factory"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_message_and_code_2(name, capsys):
    line, parts = MISTAKES[name]
    before = set(Path.cwd().iterdir())
    path = list(sys.path)
    code, out, err = shrinkwise(line, capsys)
    messages = [text for text in err.splitlines() if text.startswith("shrinkwise: ")]
    assert (code, out, len(messages)) == (2, "", 1), err
    assert "Traceback" not in err
    for part in parts:
        assert part.lower() in messages[0].lower()
    assert set(Path.cwd().iterdir()) - before <= {Path.cwd() / "__pycache__"}
    assert sys.path == path


def test_help_says_that_the_module_is_imported(capsys):
    assert "imported" in shrinkwise("audit --help", capsys)[1]


def test_only_what_a_module_defines_is_suggested(capsys):
    said = shrinkwise("audit own_train:zzz", capsys)[2]
    assert "make_model" in said
    assert "torch" not in said


def test_help_gives_an_example(capsys):
    code, out, _ = shrinkwise("audit --help", capsys)
    assert code == 0
    assert "Example: shrinkwise audit train:make" in " ".join(out.split())
