"""Networks of one setting of an experiment, trained once more so that they can be looked into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shrinkwise.experiments.data import Dataset, Split, cut
from shrinkwise.experiments.engine import Recipe
from shrinkwise.experiments.records import Condition, Record, Variant
from shrinkwise.experiments.selection import LayerSensitivity, LayerStrength, Objective
from shrinkwise.experiments.selection.curvature import look_at_layers, verify

OnRun = Callable[[Record], None]
"""Called with the record of each run that is trained."""


@dataclass
class Networks:
    """What is needed to train networks of one setting, and to look into them.

    Attributes:
        recipe: How they are trained.
        variant: The setting, as the recipe reads it.
        dataset: Where their rows come from.
        condition: What the data are like.
        select: Whose weights are looked at: ``last`` or ``best-val``.
        one: What a strength of 1 in the user's unit is in the package's one unit.
    """

    recipe: Recipe
    variant: Variant
    dataset: Dataset
    condition: Condition
    select: str
    one: float
    _cut: dict[int, Split] = field(default_factory=dict, init=False, repr=False)

    def look(self, seeds: Sequence[int], on_run: OnRun) -> tuple[tuple[LayerStrength, ...], tuple[LayerSensitivity, ...]]:
        """Train a network a seed, and return what the evidence, in the user's unit, and the slopes say of each layer.

        Raises:
            ModelError: The network cannot be differentiated as this needs it.
        """
        layers, sensitivities = look_at_layers(
            self.recipe, self._split, self.variant, seeds, condition=self.condition, select=self.select, on_run=on_run
        )
        own = tuple(layer if layer.lam is None else replace(layer, lam=layer.lam / self.one) for layer in layers)
        return own, sensitivities

    def verify(
        self, seeds: Sequence[int], advice: Sequence[LayerSensitivity], before: Mapping[int, Record], on_run: OnRun
    ) -> tuple[LayerSensitivity, ...]:
        """Take each clear advice by one step, train it on the same seeds, and return the advice with what that came to.

        Args:
            seeds: Seeds to train.
            advice: From :meth:`look`.
            before: Seed -> record of the setting as it is.
            on_run: Called with the record of each run.
        """
        steps = verify(
            self.recipe,
            self._split,
            self.variant,
            seeds,
            advice,
            condition=self.condition,
            objective=Objective(select=self.select),
            before=before,
            on_run=on_run,
        )
        found = {step.name: step for step in steps}
        return tuple(replace(layer, verified=found.get(layer.name)) for layer in advice)

    def _split(self, seed: int) -> Split:
        if seed not in self._cut:
            self._cut = {seed: cut(self.dataset, self.condition, seed)}
        return self._cut[seed]
