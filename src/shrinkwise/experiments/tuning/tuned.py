"""What a tuning gave, and every way of looking at it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shrinkwise.experiments.records import Record, Status, Variant
from shrinkwise.experiments.report import runs_frame
from shrinkwise.experiments.result import Result, check_free, write
from shrinkwise.experiments.selection import Choice, Cost, CurvePoint, LayerSensitivity, LayerStrength, Objective
from shrinkwise.experiments.stats.two_models import TwoModels
from shrinkwise.experiments.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a tuning gave.

    Attributes:
        choice: The λ to take, its interval, why, the curve, what it cost.
        study: What was asked.
        records: What each run of the search left.
        objective: What was minimised.
        confirmation: The choice against the default on fresh seeds, where that was asked for and the two differ.
        two_models: The same of one run each, over the test rows; where one fresh seed was asked for.
        confirmation_cost: What the confirmation cost, apart from the choice.
        layers: What the evidence says of each layer.
        sensitivities: How the validation loss of the choice answers to the strength of each layer.
        layers_cost: What looking at the layers of the choice cost: apart from the choice, within the budget.
        verification_cost: What it cost to verify the advice on layers, on top of the budget.
    """

    choice: Choice
    study: Study
    records: tuple[Record, ...]
    objective: Objective
    confirmation: Result | None = None
    two_models: TwoModels | None = None
    confirmation_cost: Cost | None = None
    layers: tuple[LayerStrength, ...] = ()
    sensitivities: tuple[LayerSensitivity, ...] = ()
    layers_cost: Cost | None = None
    verification_cost: Cost | None = None

    @property
    def lam(self) -> float:
        """The strength to take, in the user's unit."""
        return self.choice.lam

    @property
    def variant(self) -> Variant:
        """All settings to take."""
        return self.choice.variant

    @property
    def low(self) -> float:
        """Lower end of the 90 % interval of the best λ, in the user's unit; 0 where no penalty is within it."""
        return self.choice.low

    @property
    def high(self) -> float:
        """Upper end of it."""
        return self.choice.high

    @property
    def reason(self) -> str:
        """Why, in one or two sentences."""
        return self.choice.reason

    @property
    def at_boundary(self) -> bool:
        """Whether the best lies at the end of the range that was looked at."""
        return self.choice.at_boundary

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The expected validation loss over λ."""
        return self.choice.curve

    @property
    def cost(self) -> Cost:
        """What the choice cost."""
        return self.choice.cost

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of runs, of search and confirmation, in which a user's code raised an error; a resume trains them again."""
        return tuple(record for record in self.trained if record.status is Status.FAILED)

    @property
    def trained(self) -> tuple[Record, ...]:
        """The records of search and confirmation."""
        return self.records + (self.confirmation.records if self.confirmation else ())

    def noted(self, *notes: str) -> Tuned:
        """Return the same with further notes: what a reader must know beside the choice."""
        return replace(self, choice=replace(self.choice, notes=(*self.choice.notes, *notes)))

    def runs(self) -> pd.DataFrame:
        """Return one row for each run of the search."""
        return runs_frame(self.records, self.study)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values, in the shape that others may rely on."""
        from shrinkwise.experiments.report.choosing import choice_document

        return choice_document(self.choice, self.study, **self._beside)

    def show(self, console: Console | None = None) -> None:
        """Print the choice to a terminal."""
        from rich.console import Console

        from shrinkwise.experiments.report.choosing import show_choice

        show_choice(self.choice, self.study, console=console or Console(), **self._in_words)

    def plot(self) -> Figure:
        """Return a figure for a paper: the curve, its band, and every run."""
        from shrinkwise.experiments.report.choosing import plot_choice

        return plot_choice(self.choice, self.study)

    def report(self, path: str | Path) -> Path:
        """Write the page, one self-contained HTML file, and return where it lies.

        Raises:
            StoreError: It cannot be written there.
        """
        return write(Path(path), self._page())

    def save(self, folder: str | Path) -> Path:
        """Write page, curve, runs and JSON into a folder, and return where the page lies.

        Raises:
            StoreError: It cannot be written there, or the folder holds the answer of another experiment.
        """
        from shrinkwise.experiments.report.choosing import curve_csv

        folder = Path(folder)
        check_free(folder, self.study.data)
        texts = {
            "curve.csv": curve_csv(self.choice),
            "runs.csv": self.runs().to_csv(index=False),
            "answer.json": json.dumps(self.document(), indent=2, allow_nan=False) + "\n",
            "report.html": self._page(),
        }
        for name, text in texts.items():
            write(folder / name, text)
        return folder / "report.html"

    def _page(self) -> str:
        from shrinkwise.experiments.report.choosing import choice_page

        return choice_page(self.choice, self.study, **self._in_words)

    @property
    def _beside(self) -> dict[str, Any]:
        prices = {"layers": self.layers_cost, "verification": self.verification_cost, "confirmation": self.confirmation_cost}
        return {
            "confirmation": self.confirmation,
            "two_models": self.two_models,
            "layers": self.layers,
            "sensitivities": self.sensitivities,
            "prices": {name: cost for name, cost in prices.items() if cost is not None},
        }

    @property
    def _in_words(self) -> dict[str, Any]:
        """What is shown beside the choice: of one run each not a comparison of seeds, which one seed cannot be."""
        is_single = self.confirmation is not None and len({record.key.seed for record in self.confirmation.records}) == 1
        return self._beside | ({"confirmation": None} if is_single else {})

    def __repr__(self) -> str:
        return f"Tuned(lam={self.lam:g}, {self.reason!r})"
