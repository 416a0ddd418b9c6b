"""Plan, launch, store, resume.

Lists the runs of an experiment, chooses by what they are trained, trains those that are missing part by part, and keeps
records as they come. Only ``store`` knows SQL; only ``launch`` knows processes.
"""

from shrinkwise.experiments.execution.chooser import Chooser, OnMeans, fitted
from shrinkwise.experiments.execution.growing import Growing
from shrinkwise.experiments.execution.launch import LocalLauncher, OneByOne
from shrinkwise.experiments.execution.means import choose_means, trainer_by
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.execution.resume import execute
from shrinkwise.experiments.execution.store import Store
from shrinkwise.experiments.execution.trainer import Trainer

__all__ = [
    "Chooser",
    "Growing",
    "LocalLauncher",
    "OnMeans",
    "OneByOne",
    "Plan",
    "Store",
    "Trainer",
    "choose_means",
    "execute",
    "fitted",
    "trainer_by",
]
