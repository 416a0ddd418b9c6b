"""A choice of λ in plain values: what flags and TOML files say to ``shrinkwise tune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import ErrorDetails

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Dataset
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.spec_training import Count, Listed, Rate, Rates, Settings, Share, Strength, Training
from shrinkwise.experiments.tuning.asked import Range, read_budget
from shrinkwise.experiments.tuning.looking import read_look

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Choosing(Settings):
    """How λ is chosen, for whatever is trained."""

    around: Strength | None = Field(
        None, description="Default λ, in --unit: where the search starts; kept where no gain that counts is found. 0 if left out."
    )
    low: Positive | None = Field(
        None, description="Least λ to look at; none at all is always looked at. Ends are moved if need be."
    )
    high: Positive | None = Field(None, description="Largest λ to look at.")
    budget: Count | None = Field(None, description="Trainings in all, never exceeded; four a seed if left out.")
    seeds: Count = Field(8, description="Seeds; each cuts, starts and shuffles anew, the same for every λ.")
    method: Literal["search", "sweep", "evidence", "prior"] = Field(
        "search", description="search (λs one after another), sweep (a grid), evidence (per layer) or prior (no training)."
    )
    rule: Literal["minimum", "one-se"] = Field(
        "minimum", description="minimum, or one-se: the largest λ within one standard error of it."
    )
    confirm: Annotated[int, Field(ge=0)] = Field(
        0, description="Fresh seeds on which the choice is compared with --around afterwards; their cost comes on top of --budget."
    )
    layers: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Seeds whose network is trained once more at the choice, out of --budget, to look at its layers: 2.",
    )
    verify: bool = Field(
        False, description="Train one step along clear advice on a layer, twice or half its λ; the cost comes on top of --budget."
    )
    lr: Rates | None = Field(None, description="Learning rate; a list is searched together with λ, its first with --around.")
    dropout: Annotated[list[Rate], Listed, Field(min_length=1)] = Field(
        [0.0], description="Dropout rate; a list is searched together with λ, its first with --around."
    )

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from super().contradictions()
        checks: list[tuple[set[str], Callable[[], object]]] = [
            ({"around", "low", "high"}, lambda: Range(self.around, self.low, self.high)),
            ({"budget", "seeds"}, lambda: read_budget(self.budget, self.seeds)),
            ({"layers", "seeds", "verify"}, lambda: read_look(self.layers, range(self.seeds), is_verified=self.verify)),
        ]
        for about, check in checks:
            try:
                check()
            except SettingError as error:
                yield about, error
        for name, values in (("lr", self.lr or []), ("dropout", self.dropout)):
            if len(set(values)) < len(values):
                yield {name}, SettingError(f"{name} lists a value twice", "each is looked at once", "leave one of them out")

    def tuning(self) -> dict[str, Any]:
        """Return what ``tune`` takes, beside its subject, of how λ is chosen."""
        lists = {"lr": self.lr or [], "dropout": self.dropout}
        return {
            "around": self.around,
            "low": self.low,
            "high": self.high,
            "budget": self.budget,
            "seeds": self.seeds,
            "method": self.method,
            "rule": self.rule,
            "confirm": self.confirm,
            "layers": self.layers,
            "verify": self.verify,
            "also": {name: values for name, values in lists.items() if len(values) > 1} or None,
        }


class TuneSpec(Choosing, Training):
    """Everything that ``shrinkwise tune`` can be told of data and network."""

    metric: Literal["accuracy", "loss", "f1", "auc", "rmse", "r2"] | None = Field(
        None,
        description="What λ is chosen by, on validation rows (left out: loss), and a confirmation judged by (accuracy or rmse).",
    )
    train_size: Annotated[list[Count], Listed, Field(min_length=1)] | None = Field(None, description="Training rows.")
    label_noise: Annotated[list[Share], Listed, Field(min_length=1)] = Field(
        [0.0], description="Share of the training labels drawn anew, uniformly over the classes."
    )

    @classmethod
    def said(cls, details: ErrorDetails) -> SettingError:
        """Say one of pydantic's findings; flags of a training function are known as such."""
        name = str(details["loc"][0])
        if details["type"] == "extra_forbidden" and name in FunctionSpec.model_fields:
            flag = f"--{name}"
            return SettingError(
                f"{flag} is given with data", "it speaks of a training function's own names and numbers", "leave it out"
            )
        return super().said(details)

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from super().contradictions()
        for name, values in (("train_size", self.train_size or []), ("label_noise", self.label_noise)):
            if len(values) > 1:
                cause = "λ is chosen for one condition, and another may want another"
                yield {name}, SettingError(f"{name} lists {len(values)} values", cause, "choose for one of them at a time")

    def experiment(self, dataset: Dataset | None = None) -> Experiment:
        """Return the experiment whose λ is to be chosen; its data are loaded unless given."""
        return Experiment(
            **self.training(dataset or self.load()),
            variants=grid(l2=[0.0], dropout=self.dropout[:1]),
            conditions=grid(train_size=self.train_size or [None], label_noise=self.label_noise),  # type: ignore[list-item]
            command=self.command_of("tune", TuneSpec.model_fields),
        )


class FunctionSpec(Choosing):
    """Everything that ``shrinkwise tune package.module:train`` can be told."""

    method: Literal["search", "sweep"] = Field("search", description="search (λs one after another) or sweep (a grid).")
    name: str = Field("l2", description="For a function: the setting that holds λ, as it reads it: trial[NAME].")
    metric: str | None = Field(None, description="What λ is chosen by: a metric that the function returns.")
    maximize: bool = Field(False, description="For a function: more of the metric is better.")
    minimize: bool = Field(False, description="For a function: less of the metric is better.")
    unit: str = Field("half", description="What the function's λ means.")
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(None, description="What counts as the same.")

    @classmethod
    def said(cls, details: ErrorDetails) -> SettingError:
        """Say one of pydantic's findings; flags of data and network have no business here."""
        name = str(details["loc"][0])
        if details["type"] == "extra_forbidden" and name in TuneSpec.model_fields:
            flag = f"--{name.replace('_', '-')}"
            return SettingError(f"{flag} is given beside a function", "the function itself decides that", "leave it out")
        return super().said(details)

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from super().contradictions()
        if self.maximize and self.minimize:
            cause = "one contradicts the other"
            yield {"maximize", "minimize"}, SettingError("maximize and minimize are both given", cause, "give one of them")

    def tuning(self) -> dict[str, Any]:
        """Return what ``tune`` takes beside its subject."""
        # The function itself reads what it is given: a single value is given to all of its runs.
        own = {name: getattr(self, name) for name in ("lr", "dropout") if name in self.model_fields_set}
        return {
            **super().tuning(),
            "also": own or None,
            "metric": self.metric,
            "maximize": self.maximize if self.maximize or self.minimize else None,
            "unit": self.unit,
            "name": self.name,
            "margin": self.margin,
        }
