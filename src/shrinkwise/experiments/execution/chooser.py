"""By what runs are trained, from the plan to one call: chosen once, and fitted to the processes and the memory of each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shrinkwise.experiments.engine.memory import free_bytes
from shrinkwise.experiments.execution.launch import n_cores
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.records import RunKey

Choose = Callable[[Sequence[RunKey], int], Mapping[str, Any]]
"""Gives the means of a new plan: of the runs that are asked for at once, and the number of runs in all."""
Fit = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Gives the means of one call, of those of its plan."""
OnMeans = Callable[[Mapping[str, Any]], None]
"""Called with the means of a call, before its first run is trained."""


@dataclass(frozen=True)
class Chooser:
    """Settles by what the runs of a plan are trained.

    Attributes:
        choose: Gives the means of a new plan; it has its own if left out.
        fit: Gives those of a call.
        on_means: Told them, once they are settled.
    """

    choose: Choose | None = None
    fit: Fit = dict
    on_means: OnMeans | None = None

    def new(self, plan: Plan, keys: Sequence[RunKey], n_all: int) -> Plan:
        """Return a new plan with means chosen for runs that are asked for at once, of ``n_all`` in all."""
        return replace(plan, means={**plan.means, **self.choose(keys, n_all)}) if self.choose else plan

    def fitted(self, plan: Plan) -> Plan:
        """Return a plan with the means of this call, and tell them; what is kept stays as it is."""
        plan = replace(plan, means=self.fit(plan.means))
        if self.on_means:
            self.on_means(plan.means)
        return plan


AS_PLANNED = Chooser()


def fitted(means: Mapping[str, Any], *, jobs: int | None, memory_bytes: int | None) -> dict[str, Any]:
    """Return the means of a plan as one call takes them: its own number of processes, and fleets that fit into its memory.

    Engine, threads and device stay, and fleets are never larger than the plan's: what a run gives does not depend on what may be
    otherwise here, but for rounding.

    Args:
        means: Those of the plan. Plans of before do not say what a run takes, and their fleets stay as they are.
        jobs: Number of processes that was asked for; None takes that of the plan, or as many as there are cores for.
        memory_bytes: The most memory that training may take; None for half of what is free.
    """
    device, threads = means.get("device", "cpu"), means["threads"]
    if device == "cuda" and not torch.cuda.is_available():
        return dict(means)
    found = jobs or means.get("jobs") or (1 if device == "cuda" else max(1, n_cores() // threads))
    size, each = means.get("fleet_size"), means.get("bytes_per_run")
    if not (size and each):
        return {**means, "jobs": found}
    n_fit = (free_bytes(device) // 2 if memory_bytes is None else memory_bytes) // each
    if jobs is None:
        found = min(found, max(1, n_fit))
    fits = max(1, n_fit // found)
    if fits >= size:
        return {**means, "jobs": found}
    why = f"{means.get('why', '')}; by now no more than {fits} at a time fit into memory in each process".removeprefix("; ")
    return {**means, "jobs": found, "fleet_size": fits, "why": why}
