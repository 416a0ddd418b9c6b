"""Where rows come from, and how they are split.

Reads digits, IDX, npz, CSV and OpenML into one Dataset, and cuts it into training, validation and test rows by seed.
Knows nothing of networks.
"""

from shrinkwise.experiments.data.bundled import digits
from shrinkwise.experiments.data.dataset import Dataset
from shrinkwise.experiments.data.idx_files import idx, read_idx
from shrinkwise.experiments.data.labels import parse_classes
from shrinkwise.experiments.data.npz_archive import npz
from shrinkwise.experiments.data.openml import mnist
from shrinkwise.experiments.data.sources import as_dataset, load
from shrinkwise.experiments.data.split import Split, choose_rows, cut
from shrinkwise.experiments.data.table import csv

__all__ = [
    "Dataset",
    "Split",
    "as_dataset",
    "choose_rows",
    "csv",
    "cut",
    "digits",
    "idx",
    "load",
    "mnist",
    "npz",
    "parse_classes",
    "read_idx",
]
