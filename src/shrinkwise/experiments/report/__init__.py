"""Pictures, tables and pages from records.

Reads records and stats only: nothing is trained or decided here.
The same answer in the terminal, as Markdown, CSV, figures and one self-contained page.
"""

from shrinkwise.experiments.report.document import to_document
from shrinkwise.experiments.report.figures import plot
from shrinkwise.experiments.report.page import page
from shrinkwise.experiments.report.runs import runs_frame
from shrinkwise.experiments.report.table import csv, frame, markdown
from shrinkwise.experiments.report.terminal import show

__all__ = ["csv", "frame", "markdown", "page", "plot", "runs_frame", "show", "to_document"]
