"""A plan lists the runs of an experiment, and knows which other plan is the same experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shrinkwise.experiments.records import Condition, RunKey, Variant


@dataclass(frozen=True)
class Plan:
    """What an experiment trains.

    Attributes:
        variants: Configurations under comparison.
        conditions: What the data are like.
        seeds: Seeds; each is paired over the variants of a condition.
        settings: What makes it this experiment, as JSON values by name: fingerprints of data, model and optimiser, epochs, unit.
        means: By what it is trained, likewise: engine, size of a fleet, threads, device, why, versions. A resume goes on by those
            of the plan that is kept; only the number of processes may be another, and fleets smaller.
        is_open: Whether its runs become known one after another, as a search goes; variants, conditions and seeds are empty then.
    """

    variants: tuple[Variant, ...]
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    means: Mapping[str, Any]
    is_open: bool = False

    def runs(self) -> list[RunKey]:
        """List every run, one seed after another, so that an interrupted experiment has whole pairs."""
        return [
            RunKey(variant, condition, seed) for seed in self.seeds for condition in self.conditions for variant in self.variants
        ]

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "variants": [dict(variant) for variant in self.variants],
            "conditions": [asdict(condition) for condition in self.conditions],
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
            "means": dict(self.means),
            "is_open": self.is_open,
        }

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`document` described."""
        return Plan(
            variants=tuple(Variant(**settings) for settings in document["variants"]),
            conditions=tuple(Condition(**fields) for fields in document["conditions"]),
            seeds=tuple(document["seeds"]),
            settings=document["settings"],
            means=document["means"],
            is_open=document.get("is_open", False),
        )

    @property
    def short_name(self) -> str:
        """Six characters that name the experiment: equal for plans that do not differ."""
        text = json.dumps(self._comparable(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    def differences(self, other: Plan) -> list[str]:
        """Say in words what ``other`` has otherwise, in this plan's terms first; empty for the same experiment.

        The order of variants and conditions is no difference, by what it is trained is none, and seeds may be added or left out:
        no run depends on how many there are.
        """
        if self.is_open != other.is_open:
            return [f"{self._purpose} against {other._purpose}"]
        mine, its = self._comparable(), other._comparable()
        return [
            f"{name} {mine.get(name, 'absent')} against {its.get(name, 'absent')}"
            for name in sorted(mine.keys() | its.keys())
            if mine.get(name) != its.get(name)
        ]

    @property
    def _purpose(self) -> str:
        return "a search for a strength" if self.is_open else "a comparison"

    def _comparable(self) -> dict[str, Any]:
        return {
            **self.settings,
            "variants": sorted(json.dumps(dict(sorted(variant.items()))) for variant in self.variants),
            "conditions": sorted(condition.name for condition in self.conditions),
        }
