"""What flags and TOML files say of data, network and training, whatever is then done with it; checked all at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from shrinkwise.errors import AllSettingsError, SettingError
from shrinkwise.experiments.data import Dataset, load
from shrinkwise.experiments.engine import NamedOptimizer
from shrinkwise.experiments.engine.optimizers import DEFAULT_DECAY, DEFAULT_LR
from shrinkwise.experiments.models import MLPFactory
from shrinkwise.experiments.running import read_device, read_memory
from shrinkwise.experiments.spec_messages import message, name_of, written
from shrinkwise.regularization.strength.schedules import Cosine, InEpochs, Linear, Schedule

_ARTICLE_EVERY = 10


def _listed(value: Any) -> Any:
    """Split ``"0, 0.1"`` at its commas; a single value becomes a list of one."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _layers(value: Any) -> Any:
    return [] if value == "none" else _listed(value)


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rates = Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], BeforeValidator(_listed), Field(min_length=1)]
Listed = BeforeValidator(_listed)
Text = Annotated[str, BeforeValidator(_as_text)]
"""Text that a TOML file may also give as a number, or as a list that a flag would write with commas."""


class Settings(BaseModel):
    """Settings of any kind: a field ``label_noise`` is the flag ``--label-noise`` and a TOML key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, validate_by_name=True, validate_by_alias=True)
    needed: ClassVar[Mapping[str, Any]] = {}
    """What stands in for fields without a default while the rest is checked."""

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """Check settings, from whatever source.

        Raises:
            AllSettingsError: One or more are wrong; every one of them is said.
        """
        wrong: set[str] = set()
        errors: list[SettingError] = []
        try:
            spec = cls(**settings)
        except ValidationError as error:
            errors = [cls.said(details) for details in error.errors()]
            wrong = {name_of(details) for details in error.errors()}
            spec = cls(**{**cls.needed, **{name: value for name, value in settings.items() if name not in wrong}})
        errors += [said for about, said in spec.contradictions() if not about & wrong]
        if errors:
            raise AllSettingsError(errors)
        return spec

    @classmethod
    def said(cls, details: ErrorDetails) -> SettingError:
        """Say one of pydantic's findings."""
        return message(cls, details)

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from ()

    def command_of(self, name: str, fields: Iterable[str]) -> str:
        """Return the command that asks for this, with every setting among ``fields`` that is not its default."""
        words = ["shrinkwise", name]
        for field in fields:
            value = getattr(self, field)
            if value != type(self).model_fields[field].default:
                words += [f"--{field.replace('_', '-')}", *([] if value is True else [written(value)])]
        return shlex.join(words)


class Training(Settings):
    """Data, network and training, as flags and TOML files describe them."""

    needed = {"data": "digits"}

    data: str = Field(description="digits, mnist, a folder of IDX files (./mnist for one of that name), or an .npz or .csv file.")
    classes: Text | None = Field(None, description="Classes to keep: 0-4, or 0,2,7, or names.")
    target: Text | None = Field(None, description="CSV: the column to predict, by name or index (-1 is the last).")
    no_header: bool = Field(False, description="CSV: the first line is data.")
    groups: Text | None = Field(None, description="CSV: rows that share a value of this column are never on both sides of a split.")
    task: Literal["classification", "regression"] | None = Field(
        None, description="classification or regression; guessed, and said, if left out."
    )
    metric: Literal["accuracy", "loss", "f1", "auc", "rmse", "r2"] | None = Field(
        None, description="What the verdict is about: accuracy, loss, f1, auc, rmse or r2."
    )
    train_size: Annotated[list[Count], Listed, Field(min_length=1)] | None = Field(
        None, description="Training rows; a list makes conditions."
    )
    label_noise: Annotated[list[Share], Listed, Field(min_length=1)] = Field(
        [0.0], description="Share of the training labels drawn anew, uniformly over the classes; a list makes conditions."
    )
    dropout: Annotated[list[Rate], Listed, Field(min_length=1)] = Field([0.0], description="Dropout rate.")
    unit: Literal["half", "sum", "per_sample"] = Field(
        "half", description="What a strength means: half: loss + λ/2·Σw²; sum: loss + λ·Σw²; per_sample: loss + λ/(2N)·Σw²."
    )
    apply_to: Literal["weights", "all"] = Field("weights", description="weights: matrices alone; all: biases too.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="sgd, adam or adamw.")
    decay: Literal["coupled", "decoupled"] | None = Field(
        None, description="coupled: gradient + λ·w; decoupled: each step shrinks w by lr·λ. coupled, but for adamw."
    )
    lr: Rates | None = Field(None, description="Learning rate: 0.05 for sgd, else 0.001.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Momentum of sgd.")
    batch_size: Count = Field(64, description="Rows of one optimiser step.")
    epochs: Count = Field(30, description="Passes over the training rows, the same for every variant.")
    patience: Count | None = Field(
        None,
        description="End a run after K epochs without a better validation loss, or that learned nothing; never if left out.",
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="λ over a run: constant, or down to 0 at its last epoch: linear, cosine."
    )
    lr_schedule: Literal["constant", "linear", "cosine"] = Field("constant", description="Learning rate over a run, likewise.")
    seeds: Count = Field(10, description="Seeds; each cuts, starts and shuffles anew, the same for every variant.")
    hidden: Annotated[list[Count], BeforeValidator(_layers)] = Field(
        [128], description="Widths of the hidden layers: 128, or 128,128, or none."
    )
    select: Literal["last", "best-val"] = Field("last", description="Judge the last epoch, or that of best validation loss.")
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="What counts as the same: points of accuracy, f1, auc and hundredths of r2 (0.5); per cent of loss, rmse (2).",
    )
    dropout_every: Count = Field(1, description="Dropout acts only at every K-th optimiser step.")
    dropout_hold: Count = Field(1, description="A dropout mask is drawn every K steps, and held.")
    dropout_backward: Literal["masked", "identity", "full"] = Field(
        "masked", description="Backward pass of dropout: masked, identity or full (silenced neurons keep learning)."
    )
    dropout_article: bool = Field(False, description="The article's dropout: --dropout-every 10 --dropout-backward full.")
    engine: Literal["auto", "single", "fleet"] = Field(
        "auto", description="single: runs one by one; fleet: many together; auto: what a short measurement finds faster."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="cpu or cuda; auto: a GPU where there is one.")
    memory: Text | None = Field(None, description="What runs that are trained at once may take, such as 4GB; half of what is free.")

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from super().contradictions()
        if self.optimizer == "adamw" and self.decay == "coupled":
            mend = "take optimizer adam for the coupled form"
            yield (
                {"optimizer", "decay"},
                SettingError("decay is coupled under adamw", "AdamW is Adam with decoupled decay", mend),
            )
        if self.optimizer != "sgd" and "momentum" in self.model_fields_set:
            yield (
                {"optimizer", "momentum"},
                SettingError(f"momentum is given for {self.optimizer}", "it is a setting of sgd alone", "leave it out"),
            )
        forms = sorted(self.model_fields_set & {"dropout_every", "dropout_hold", "dropout_backward"})
        if self.dropout_article and forms:
            cause = f"it stands for dropout_every {_ARTICLE_EVERY} with dropout_backward full"
            yield (
                {"dropout_article", *forms},
                SettingError(f"dropout_article is given beside {' and '.join(forms)}", cause, "give one or the other"),
            )
        if (self.dropout_article or forms) and not any(self.dropout):
            given = "dropout_article" if self.dropout_article else forms[0]
            yield (
                {"dropout", given},
                SettingError(f"{given} is given and no variant has dropout", "it would do nothing", "add such as --dropout 0,0.5"),
            )

        for name, check in (("device", read_device), ("memory", read_memory)):
            try:
                check(getattr(self, name))
            except SettingError as error:
                yield {name}, error

    def load(self) -> Dataset:
        """Read the data.

        Raises:
            DataError: They are absent, damaged, or cannot be read as asked.
        """
        return load(
            self.data, classes=self.classes, target=self.target, header=not self.no_header, groups=self.groups, task=self.task
        )

    def training(self, dataset: Dataset) -> dict[str, Any]:
        """Return what an experiment takes beside its variants and conditions, and beside its command."""
        dropout = {f"dropout_{name}": value for name, value in self._dropout_form().items()} if any(self.dropout) else {}
        return {
            "model": MLPFactory(dataset.n_features, tuple(self.hidden), dataset.n_outputs, **self._dropout_form()),
            "data": dataset,
            "optimizer": NamedOptimizer(
                self.optimizer,
                lr=self.lr[0] if self.lr else DEFAULT_LR[self.optimizer],
                momentum=self.momentum,
                decay=self.decay or DEFAULT_DECAY[self.optimizer],
            ),
            "epochs": self.epochs,
            "seeds": self.seeds,
            "batch_size": self.batch_size,
            "unit": self.unit,
            "apply_to": self.apply_to,
            "metric": self.metric,
            "margin": self.margin,
            "select": self.select,
            "patience": self.patience,
            "schedule": self._over_all_epochs(self.schedule),
            "lr_schedule": self._over_all_epochs(self.lr_schedule),
            "engine": self.engine,
            "device": self.device,
            "memory": self.memory,
            "settings": {"hidden": ", ".join(map(str, self.hidden)), **dropout},
        }

    def _over_all_epochs(self, name: str) -> Schedule | None:
        return None if name == "constant" else InEpochs({"linear": Linear, "cosine": Cosine}[name](self.epochs))

    def _dropout_form(self) -> dict[str, Any]:
        if self.dropout_article:
            return {"every": _ARTICLE_EVERY, "hold": 1, "backward": "full"}
        return {"every": self.dropout_every, "hold": self.dropout_hold, "backward": self.dropout_backward}
