"""Optuna found a best weight decay. Is it better than the default, or was it lucky?"""

from __future__ import annotations

import optuna
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import shrinkwise as sw
