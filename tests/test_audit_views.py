"""An audit as people read it: text, terminal, notebook, DataFrame, JSON; with repeated layers folded."""

from __future__ import annotations

import html
import io
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from shrinkwise.regularization.audit import audit
from shrinkwise.regularization.rules.fold import fold, listed
from shrinkwise.seeding import isolated_rng


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.mix = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))


class _Language(nn.Module):
    """A language model with a tied head."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.layers = nn.ModuleList(_Block() for _ in range(12))
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight


def language():
    with isolated_rng("views"):
        return _Language()


def seen(depth=None, decay=0.01):
    model = language()
    return audit(model, torch.optim.AdamW(model.parameters(), weight_decay=decay), depth=depth)


def names(audited):
    return [line.cells[0] for line in audited.lines]


def test_repeated_layers_are_folded():
    assert names(seen()) == [
        "embedding.weight",
        "layers.[0-11].norm.weight",
        "layers.[0-11].norm.bias",
        "layers.[0-11].mix.[0,1].weight",
        "layers.[0-11].mix.[0,1].bias",
    ]


def test_depth_writes_out_the_outermost_repetitions_first():
    assert names(seen(depth=0)) == names(seen())
    assert names(seen(depth=1))[:5] == [
        "embedding.weight",
        "layers.0.norm.weight",
        "layers.0.norm.bias",
        "layers.0.mix.[0,1].weight",
        "layers.0.mix.[0,1].bias",
    ]
    assert names(seen(depth=2)) == [parameter.name for parameter in seen().parameters]
    assert len(names(seen(depth=9))) == len(seen().parameters)


def test_the_rounding_of_a_strength_unfolds_nothing():
    audited = audit(language(), loss=lambda model, _: 1e-4 * sum(p.square().sum() for p in model.parameters()))
    assert names(audited) == names(seen())
    assert {line.cells[3] for line in audited.lines} == {"l2 0.0002 (loss)"}


def test_a_layer_that_differs_stands_alone():
    model = language()
    model.layers[3].norm.weight.requires_grad_(False)
    free = [model.layers[5].mix[0].weight]
    rest = [p for p in model.parameters() if p is not free[0]]
    audited = audit(model, torch.optim.AdamW([{"params": rest}, {"params": free, "weight_decay": 0.0}]))
    assert "layers.[0-2,4-11].norm.weight" in names(audited)
    assert "layers.3.norm.weight" in names(audited)
    assert "layers.5.mix.0.weight" in names(audited)


paths = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from("xy"), st.integers(0, 3)), unique=True, max_size=30
)


@given(paths=paths, depth=st.integers(0, 3))
def test_folding_keeps_every_name_once(paths, depth):
    written = [".".join(map(str, path)) for path in paths]
    folded = fold(written, depth=depth)
    assert sorted(position for _, positions in folded for position in positions) == list(range(len(written)))
    meant = {name for pattern, _ in folded for name in _unfolded(pattern)}
    assert meant == set(written)
    assert len({name for name, _ in folded}) == len(folded)


def _unfolded(pattern):
    parts = [[""]]
    for part in pattern.split("."):
        if part.startswith("["):
            ranges = (run.split("-") for run in part[1:-1].split(","))
            parts.append([str(n) for run in ranges for n in range(int(run[0]), int(run[-1]) + 1)])
        else:
            parts.append([part])
    found = parts[0]
    for choices in parts[1:]:
        found = [f"{before}.{choice}".removeprefix(".") for before in found for choice in choices]
    return found


def test_a_long_list_of_names_is_cut():
    assert listed(["a", "b", "c", "d", "e.0", "e.1", "f"]) == "a, b, c, d and 2 more (7 parameters)"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_keeps_to_its_width_and_has_no_colour_codes(width):
    text = seen().to_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert text.index("Warnings:") < text.index("parameter ") < text.index("Not checked:")
    assert re.search(r"^layers\.\[0-11\]\.norm\.weight( +8 +norm|$)", text, flags=re.MULTILINE)
    assert "  = head.weight" in text


def test_columns_are_aligned():
    lines = seen().to_text(120).splitlines()
    (ruler,) = (i for i, line in enumerate(lines) if set(line) == {"-", " "})
    edges = [match.end() for match in re.finditer("-+", lines[ruler])][-2:]
    rows = [line for line in lines[ruler + 1 : lines.index("", ruler)] if not line.startswith("  =")]
    assert len(rows) == 5
    assert all(line[edge - 1] != " " and line[edge : edge + 1] in ("", " ") for line in rows for edge in edges)


def test_str_and_repr_are_the_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    assert str(seen()) == repr(seen()) == seen().to_text(90)


def test_figures_that_differ_in_a_fold_are_shown_as_a_range():
    model = language()
    with torch.no_grad():
        model.layers[2].norm.weight.fill_(0.5)
    audited = audit(model, torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.1))
    (line,) = (line for line in audited.lines if line.cells[0] == "layers.[0-11].norm.weight")
    assert line.cells[-2:] == ("0.0001", "~0.001 to 0.002")


def test_rich_shows_the_same_and_colours_only_a_terminal():
    for is_terminal in (True, False):
        console = Console(
            file=io.StringIO(), width=120, force_terminal=is_terminal, color_system="standard" if is_terminal else None
        )
        console.print(seen())
        shown = console.file.getvalue()
        assert ("\x1b" in shown) == is_terminal
        for part in ("layers.[0-11].norm.weight", "Warnings", "sw.param_groups", "Not checked", "= head.weight"):
            assert part in shown


def test_html_is_whole_and_escaped():
    class Tag(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_module("<b>", nn.Linear(2, 2))

    model = Tag()
    page = audit(model, torch.optim.AdamW(model.parameters()))._repr_html_()
    assert "<b>.weight" not in page
    assert html.escape("<b>.weight") in page
    assert page.startswith("<div")
    for tag in ("div", "table", "tr", "td", "p", "span"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>")
    assert "http" not in page


def test_the_frame_has_a_row_for_each_parameter():
    frame = seen().to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns[:10]) == [
        "name",
        "shape",
        "n",
        "role",
        "penalty",
        "lam",
        "why",
        "aliases",
        "declared_shrink",
        "measured_shrink",
    ]
    assert len(frame) == len(seen().parameters)
    assert frame.set_index("name").loc["embedding.weight", "aliases"] == ["head.weight"]


def test_json_holds_what_others_rely_on():
    document = json.loads(seen().to_json())
    assert document.keys() >= {"parameters", "warnings", "not_checked"}
    first = document["parameters"][0]
    assert first["shape"] == [20, 8]
    assert (first["n"], first["role"], first["aliases"]) == (160, "embedding", ["head.weight"])
    assert first["why"]
    assert first["declared_shrink"] == pytest.approx(1e-5)
    assert {warning["code"] for warning in document["warnings"]} == {"decayed_norm", "decayed_bias"}
    assert all(warning.keys() == {"code", "message", "mend", "parameters"} for warning in document["warnings"])


def test_weights_that_are_no_numbers_make_no_invalid_json():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    for exact in (False, True):
        document = json.loads(audit(model, torch.optim.AdamW(model.parameters()), exact=exact).to_json())
        assert document["parameters"][0]["name"] == "weight"


def test_an_audit_needs_torch_and_numpy_alone():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['rich', 'pandas']))\n"
        "import torch\n"
        "from shrinkwise.regularization.audit import audit\n"
        "model = torch.nn.Linear(2, 1)\n"
        "seen = audit(model, torch.optim.AdamW(model.parameters()), inputs=torch.ones(1, 2), exact=True)\n"
        "print(seen); print(seen._repr_html_()[:4]); len(seen.to_json())\n"
        "try:\n    seen.to_frame()\nexcept ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Linear with AdamW")
    assert "MissingExtraError pandas is not installed" in done.stdout
