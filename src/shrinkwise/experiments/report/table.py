"""The table as a DataFrame, as CSV and as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.records import Condition, Status
from shrinkwise.experiments.report.formats import NOTHING, find_comparison, headline_metrics, metrics_of, scale_of
from shrinkwise.experiments.report.lines import Line, level_of, lines_of
from shrinkwise.experiments.stats.answer import Answer, Row
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd


def frame(answer: Answer, study: Study) -> pd.DataFrame:
    """Return the table tidily: one row a condition and variant, numbers in their own unit.

    Columns: ``condition``, ``train_size``, ``label_noise``, ``variant``, one a setting, ``n``, one a status, ``collapsed``; for
    every metric ``NAME``, ``NAME_std``, ``NAME_low``, ``NAME_high`` (interval of the mean), ``NAME_difference``,
    ``NAME_difference_low`` and ``NAME_difference_high`` (paired, variant minus base); of the primary metric ``p``, ``p_adjusted``,
    ``share_won`` and ``finding``; ``weight_norm``. What does not exist is missing. A setting whose name is taken by another column
    is called ``setting_NAME``.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError(
            "pandas is not installed", "the table is a DataFrame", "pip install 'shrinkwise[experiments]'"
        ) from error
    return pd.DataFrame([_record(answer, study, row) for row in answer.rows])


def csv(answer: Answer, study: Study) -> str:
    """Return :func:`frame` as CSV text, numbers in full.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    return frame(answer, study).to_csv(index=False, lineterminator="\n")


def markdown(answer: Answer, study: Study) -> str:
    """Return verdict, one table a condition and notes as Markdown, in the form of the article.

    Cells are mean ± standard deviation over seeds with the difference from the base in brackets; accuracy in per cent, its
    differences in points.
    """
    metrics = headline_metrics(answer, study.primary_metric)
    titles = [scale_of(answer, metric).title for metric in metrics]
    unit = scale_of(answer, study.primary_metric).difference_unit
    interval = f"{level_of(answer)} interval of the difference" + (f" ({unit})" if unit else "")
    head = ["variant", *titles, interval, "p (Holm)", "seeds won", "weight norm", "runs", "finding"]
    blocks = [f"**{_escape(answer.sentence)}**"]
    for condition in answer.conditions:
        rows = [_markdown_row(line) for line in lines_of(answer, condition, metrics)]
        rule = ["---", *(["---:"] * (len(head) - 3)), "---", "---"]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in [[_escape(each) for each in head], rule, *rows])
        blocks.append(f"{caption_of(answer, condition)}\n\n{table}")
    blocks += ["\n".join(f"- {_escape(note)}" for note in answer.notes)] if answer.notes else []
    return "\n\n".join(blocks) + "\n"


def caption_of(answer: Answer, condition: Condition) -> str:
    """Return what a table of one condition is called; a lone condition without a size needs no more than ``All runs``."""
    is_plain = len(answer.conditions) == 1 and condition == Condition()
    return "All runs" if is_plain else condition.name[:1].upper() + condition.name[1:]


def _record(answer: Answer, study: Study, row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "condition": row.condition.name,
        "train_size": row.condition.train_size,
        "label_noise": row.condition.label_noise,
        "variant": row.variant.name,
    }
    numbers = _numbers(answer, study, row)
    settings = {**row.variant, **row.chosen}
    record |= {f"setting_{name}" if name in record | numbers else name: value for name, value in settings.items()}
    return record | numbers


def _numbers(answer: Answer, study: Study, row: Row) -> dict[str, Any]:
    numbers: dict[str, Any] = {"n": row.n}
    numbers |= {status.value: row.status.get(status, 0) for status in Status}
    numbers["collapsed"] = row.collapsed
    for metric in metrics_of(answer, study.primary_metric):
        spread = row.metrics.get(metric)
        compared = find_comparison(answer.comparisons, row.condition, row.variant, metric)
        difference = compared.difference if compared else None
        numbers |= {
            metric: spread.estimate.point if spread else None,
            f"{metric}_std": spread.std if spread else None,
            f"{metric}_low": spread.estimate.low if spread else None,
            f"{metric}_high": spread.estimate.high if spread else None,
            f"{metric}_difference": difference.point if difference else None,
            f"{metric}_difference_low": difference.low if difference else None,
            f"{metric}_difference_high": difference.high if difference else None,
        }
    primary = find_comparison(answer.comparisons, row.condition, row.variant, study.primary_metric)
    return numbers | {
        "p": primary.p if primary else None,
        "p_adjusted": primary.p_adjusted if primary else None,
        "share_won": primary.share_won if primary else None,
        "finding": primary.finding.value if primary else None,
        "weight_norm": row.weight_norm,
    }


def _markdown_row(line: Line) -> list[str]:
    cells = [f"{cell.spread} ({cell.difference})" if cell.difference else cell.spread for cell in line.cells]
    verdict = f"{line.verdict} ({line.seeds_needed})" if line.seeds_needed else line.verdict
    variant = f"{line.variant} ({line.chosen})" if line.chosen else line.variant
    texts = [variant, *cells, line.interval, line.p, line.won, line.norm, line.runs, verdict]
    return [_escape(text or NOTHING) for text in texts]


def _escape(text: str) -> str:
    """Keep a user's words from being read as Markdown or HTML, or from ending a cell."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))
