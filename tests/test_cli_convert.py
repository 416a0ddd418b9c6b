"""``shrinkwise convert``: what it prints, and one message for each mistake."""

from __future__ import annotations

import json
import shlex

import pytest

import shrinkwise as sw
from shrinkwise.cli.main import main
from shrinkwise.regularization.strength import UNITS


def shrinkwise(line: str, capsys) -> tuple[int, str, str]:
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    return code, out, err


def test_convert_prints_the_value_the_formula_and_the_reason(capsys):
    code, out, err = shrinkwise("convert 0.01 --from keras --to adamw --lr 1e-3 --optimizer sgd", capsys)
    assert (code, err) == (0, "")
    value, reason = out.splitlines()
    assert value == "λ = 0.02 in adamw: w ← w − lr·λ·w in each step, beside the gradient step"
    assert reason.startswith("Exact: under plain SGD, without momentum")
    assert "lr·λ = 2e-05 of itself" in reason


def test_convert_takes_adam_where_a_unit_names_it(capsys):
    _, out, _ = shrinkwise("convert 0.01 --from keras --to adamw --lr 1e-3", capsys)
    value, reason = out.splitlines()
    assert value.startswith("λ = 0.02 in adamw")
    assert reason.startswith("Not exact: Adam divides")
    assert "under plain SGD (optimizer sgd) it would be exact" in reason


def test_convert_prints_json_and_nothing_else(capsys):
    code, out, err = shrinkwise("convert 0.01 --from keras --to adamw --lr 1e-3 --optimizer adam --json", capsys)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["value"] == 0.02
    assert document["unit"] == "adamw"
    assert document["exact"] is False
    assert "no decoupled decay equals it" in document["why"]


@pytest.mark.parametrize("target", UNITS)
def test_every_flag_reaches_the_conversion(target, capsys):
    flags = "--lr 1e-3 --n-samples 5e4 --batch-size 100 --epochs 40 --optimizer momentum --momentum 0.9"
    code, out, _ = shrinkwise(f"convert 0.01 --from keras --to {target} {flags} --json", capsys)
    known = {"lr": 1e-3, "n_samples": 50_000, "batch_size": 100, "epochs": 40}
    expected = sw.convert(0.01, "keras", target, optimizer="momentum", momentum=0.9, **known)
    assert code == 0
    assert json.loads(out) == {
        "value": expected.value,
        "unit": target,
        "exact": expected.exact,
        "why": expected.why,
    }


def test_an_inverse_unit_is_printed_by_its_own_letter(capsys):
    _, out, _ = shrinkwise("convert 4 --from per_sample --to sklearn-logistic", capsys)
    assert out.startswith("C = 0.25 in sklearn-logistic: ")
    _, out, _ = shrinkwise("convert 1 --from adam --to adamw", capsys)
    assert "\nNot exact: Adam" in out


def test_the_help_lists_every_unit_and_an_example(capsys):
    code, out, _ = shrinkwise("convert --help", capsys)
    words = out.replace("│", " ").replace("/", " ").replace(",", " ").replace(".", " ").split()
    assert code == 0
    assert [name for unit in UNITS.values() for name in (unit.name, *unit.aliases) if name not in words] == []
    assert "Example: shrinkwise convert 0.01 --from keras --to adamw --lr 1e-3" in " ".join(out.split())


MISTAKES = {
    "unknown unit": ("convert 0.01 --from kera --to adamw", ["unit 'kera'", "Did you mean 'keras'?"]),
    "unknown target": ("convert 0.01 --from keras --to adamww", ["unit 'adamww'", "Did you mean 'adamw'?"]),
    "no unit": ("convert 0.01 --to adamw", ["--from is missing", "sum/keras", "timescale"]),
    "no target": ("convert 0.01 --from keras", ["--to is missing"]),
    "no value": ("convert --from keras --to adamw", ["Missing argument 'value'", "convert --help"]),
    "negative without a nought": ("convert -.01 --from keras --to adamw", ["-.01 is negative"]),
    "negative": ("convert -0.01 --from keras --to adamw", ["-0.01 is negative", "0 or a positive number"]),
    "not a number": ("convert much --from keras --to adamw", ["the value is 'much'", "a number"]),
    "a comma": ("convert 0,01 --from keras --to half", ["the value is '0,01'", "Write it as 0.01"]),
    "a flag's value is no number": ("convert 1 --from keras --to half --batch-size abc", ["--batch-size is 'abc'", "a number"]),
    "no momentum": ("convert 1 --from half --to adamw --optimizer momentum", ["without momentum", "Give momentum"]),
    "momentum of 1": ("convert 1 --from half --to adamw --momentum 1", ["momentum is 1.0", "below 1"]),
    "momentum of Adam": ("convert 1 --from half --to adamw --optimizer adam --momentum 0.9", ["momentum is 0.9 under adam"]),
    "NaN": ("convert nan --from keras --to adamw", ["λ is nan", "finite number"]),
    "nothing for C": ("convert 0 --from half --to sklearn-logistic --n-samples 10", ["C would be infinite"]),
    "quantities that lack": ("convert 0.1 --from half --to timescale --lr 0.1", ["Give batch_size and n_samples"]),
    "epochs without the rest": ("convert 0.1 --from adamw --to adamw --epochs 9", ["Give batch_size, lr and n_samples"]),
    "half a sample": ("convert 0.1 --from half --to per_sample --n-samples 2.5", ["n_samples is 2.5", "whole number"]),
    "learning rate of zero": ("convert 0.1 --from half --to independent --lr 0", ["lr is 0.0", "positive"]),
    "unknown optimizer": ("convert 0.1 --from half --to adamw --optimizer adan", ["'adan'", "Did you mean 'adam'?"]),
    "unknown flag": ("convert 0.1 --from half --to adamw --lrr 1", ["--lrr is no flag", "Did you mean '--lr'?"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_message_and_code_2(name, capsys):
    line, said = MISTAKES[name]
    code, out, err = shrinkwise(line, capsys)
    assert (code, out) == (2, "")
    (message,) = err.splitlines()
    assert message.startswith("shrinkwise: ")
    for part in said:
        assert part in message
