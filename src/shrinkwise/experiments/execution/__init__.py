"""Plan, launch, store, resume.

Lists the runs of an experiment, trains those that are missing, and appends each record as its run ends.
Only ``store`` knows SQL; only ``launch`` knows processes.
"""

from shrinkwise.experiments.execution.growing import Growing
from shrinkwise.experiments.execution.launch import LocalLauncher
from shrinkwise.experiments.execution.plan import Plan
from shrinkwise.experiments.execution.resume import execute
from shrinkwise.experiments.execution.store import Store
from shrinkwise.experiments.execution.trainer import Trainer

__all__ = ["Growing", "LocalLauncher", "Plan", "Store", "Trainer", "execute"]
