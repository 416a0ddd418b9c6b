"""What a command can be told beside the experiment: where to keep it, how many processes, how to print it."""

from __future__ import annotations

from pydantic import Field

from shrinkwise.experiments.spec import Spec
from shrinkwise.experiments.spec_training import Count, Settings, Text
from shrinkwise.experiments.spec_tune import FunctionSpec, TuneSpec


class Output(Settings):
    """What a command does with an experiment's settings."""

    out: Text | None = Field(
        None, description="Folder for runs and report; a second call with the same folder goes on. runs/NAME if left out."
    )
    jobs: Count | None = Field(None, description="Worker processes; what was measured to be best, or one a core, if left out.")
    verbose: bool = Field(False, description="Say by what engine the runs are trained, and why by that one, before they are.")
    as_json: bool = Field(False, alias="json", description="Print one JSON document on standard output, and nothing else there.")


class Command(Output, Spec):
    """An experiment's settings, and what ``compare`` and ``demo`` do with it."""


class TuneCommand(Output, TuneSpec):
    """How λ of an experiment is chosen, and what ``tune`` does with it."""


class FunctionCommand(Output, FunctionSpec):
    """How λ of a training function is chosen, and what ``tune`` does with it."""
