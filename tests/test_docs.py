"""What the documentation says in figures is what the results in the repository say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

import shrinkwise as sw

ROOT = Path(__file__).parents[1]
ARTICLE = ROOT / "benchmarks" / "results" / "article"
READINGS = {
    ("half", "weights"): "half-weights",
    ("half", "all"): "half-all",
    ("sum", "weights"): "sum-weights",
    ("per_sample", "weights"): "per-sample-weights",
}


@pytest.mark.parametrize(("reading", "folder"), READINGS.items())
def test_the_articles_page_prints_the_accuracies_of_its_runs(reading, folder):
    page = (ROOT / "docs" / "article.md").read_text()
    unit, apply_to = reading
    (row,) = (line for line in page.splitlines() if f"| `{unit}`, `{apply_to}` |" in line)
    printed = [float(cell) for cell in re.findall(r"\| (\d\d\.\d\d)", row)]
    runs = pd.read_csv(ARTICLE / folder / "runs.csv")
    means = runs[runs.dropout == 0].groupby("l2").accuracy.mean() * 100
    assert printed == pytest.approx(list(means), abs=0.0051)
    collapsed = runs[runs.dropout == 0].groupby("l2").collapsed.sum()
    assert row.count("collapsed") == sum(collapsed == 10)


def test_every_relative_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_shows_what_an_audit_of_gpt2_says():
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    said = sw.audit(model, torch.optim.AdamW(model.parameters(), lr=3e-4)).to_text(100).splitlines()
    block = (ROOT / "README.md").read_text().split("it says:\n\n```\n", 1)[1].split("\n```", 1)[0].splitlines()
    assert [line for line in block if line not in said] == ["..."]
