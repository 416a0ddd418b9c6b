"""The report of a choice of λ.

The curve of the validation loss, every run on it, the path of the search, and what it cost: as JSON, page, terminal and figure.
"""

from shrinkwise.experiments.report.choosing.confirmed import Confirmed
from shrinkwise.experiments.report.choosing.document import choice_document, curve_csv
from shrinkwise.experiments.report.choosing.figure import plot_choice
from shrinkwise.experiments.report.choosing.page import choice_page
from shrinkwise.experiments.report.choosing.terminal import show_choice

__all__ = ["Confirmed", "choice_document", "choice_page", "curve_csv", "plot_choice", "show_choice"]
