"""What ``compare`` and ``demo`` can be told beside the experiment: where to keep it, how many processes, how to print it."""

from __future__ import annotations

from pydantic import Field

from shrinkwise.experiments.spec import Count, Spec, Text


class Command(Spec):
    """An experiment's settings, and what the command does with it."""

    out: Text | None = Field(
        None, description="Folder for runs and report; a second call with the same folder goes on. runs/NAME if left out."
    )
    jobs: Count | None = Field(None, description="Worker processes; one a core if left out.")
    as_json: bool = Field(False, alias="json", description="Print one JSON document on standard output, and nothing else there.")
