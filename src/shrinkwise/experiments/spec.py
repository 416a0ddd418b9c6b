"""An experiment in plain values: what flags and TOML files say, checked all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from shrinkwise.errors import SettingError
from shrinkwise.experiments.data import Dataset
from shrinkwise.experiments.experiment import Experiment
from shrinkwise.experiments.grid import grid
from shrinkwise.experiments.spec_training import Listed, Rate, Rates, Strength, Training


class Spec(Training):
    """Everything that ``shrinkwise compare`` can be told."""

    l2: Annotated[list[Strength], Listed, Field(min_length=1)] = Field(
        [0.0, 0.01, 0.1, 1.0], description="Strengths of L2 to compare, in --unit; the first is the base where none is 0."
    )
    dropout: Annotated[list[Rate], Listed, Field(min_length=1)] = Field(
        [0.0], description="Dropout rates to compare, crossed with --l2."
    )
    l1: Annotated[list[Strength], Listed, Field(min_length=1)] = Field(
        [0.0], description="Strengths of L1 to compare, mean loss + λ·Σ|w| whatever --unit says, crossed with --l2."
    )
    lr: Rates | None = Field(
        None,
        description="Learning rate: 0.05 for sgd, else 0.001. A list: each variant gets its own best of it, on validation loss.",
    )

    def contradictions(self) -> Iterator[tuple[set[str], SettingError]]:
        """Yield what is wrong between settings that are each sound, and which settings those are."""
        yield from super().contradictions()
        if len(set(self.l2)) * len(set(self.dropout)) * len(set(self.l1)) < 2:
            mend = "give another value of l2 or dropout"
            yield {"l2", "dropout", "l1"}, SettingError("l2 and dropout make one variant", "a comparison takes at least two", mend)

    def experiment(self, dataset: Dataset | None = None) -> Experiment:
        """Return the experiment that these settings describe; its data are loaded unless given."""
        return Experiment(
            **self.training(dataset or self.load()),
            # Named only where it is asked for: a variant says what is compared, and is called by it.
            variants=grid(l2=self.l2, **({"l1": self.l1} if any(self.l1) else {}), dropout=self.dropout),
            conditions=grid(train_size=self.train_size or [None], label_noise=self.label_noise),  # type: ignore[list-item]
            lr=self.lr if self.lr and len(self.lr) > 1 else None,
            command=self.command(),
        )

    def command(self) -> str:
        """Return the command that asks for this, with every setting that is not its default."""
        return self.command_of("compare", Spec.model_fields)
