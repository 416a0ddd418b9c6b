"""How a page is put together: templates, the chart library and our script, in one file that opens without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from typing import Any

from shrinkwise.errors import MissingExtraError
from shrinkwise.experiments.report.chart import Chart

_DASHES = {"solid": "none", "dot": "2 3", "dash": "8 4", "dashdot": "8 3 2 3"}


def render(template: str, charts: Iterable[Chart], **context: Any) -> str:
    """Return a page as HTML: about five megabytes, of which nearly all is the library that draws the charts.

    Nothing in it is fetched from anywhere, and a content security policy in it forbids that. What comes from users is escaped. The
    same input gives the same bytes.

    Args:
        template: Name of the template, one that extends ``base.html.j2``.
        charts: Every chart that the template places.
        context: What else the template reads.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name} is not installed", "the page is made with jinja2 and plotly", "pip install 'shrinkwise[experiments]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = {"plotly": get_plotlyjs(), "script": _template("page.js")}
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts.values())
    return environment.get_template(template).render(
        **context,
        **scripts,
        charts=[_spec(chart) for chart in charts],
        css=_template("page.css"),
        script_hashes=hashes,
        dashes=_DASHES,
    )


def _spec(chart: Chart) -> dict[str, Any]:
    return {"id": chart.id, "traces": chart.traces, "choices": chart.choices, "layout": chart.layout, "height": chart.height}


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
