"""Pictures, tables and pages from records.

Reads records and stats only: nothing is trained or decided here.
The same answer in the terminal, as Markdown, CSV, figures and one self-contained page.
"""

from shrinkwise.experiments.report.choosing import Confirmed, choice_document, choice_page, curve_csv, plot_choice, show_choice
from shrinkwise.experiments.report.document import to_document
from shrinkwise.experiments.report.figures import plot
from shrinkwise.experiments.report.page import page
from shrinkwise.experiments.report.runs import runs_frame
from shrinkwise.experiments.report.table import csv, frame, markdown
from shrinkwise.experiments.report.terminal import show

__all__ = [
    "Confirmed",
    "choice_document",
    "choice_page",
    "csv",
    "curve_csv",
    "frame",
    "markdown",
    "page",
    "plot",
    "plot_choice",
    "runs_frame",
    "show",
    "show_choice",
    "to_document",
]
