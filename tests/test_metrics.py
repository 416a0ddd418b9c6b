"""The metrics that are computed here are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from shrinkwise.experiments.engine import metrics
from shrinkwise.experiments.engine.metrics import summary


@given(n_classes=st.integers(2, 6), n_rows=st.integers(2, 60), digits=st.integers(0, 3), seed=st.integers(0, 1000))
def test_f1_and_auc_are_those_of_scikit_learn(n_classes, n_rows, digits, seed):
    rng = np.random.default_rng(seed)
    wanted = rng.integers(n_classes, size=n_rows)
    # Rounded, so that there are ties.
    outputs = torch.from_numpy(np.round(rng.normal(size=(n_rows, n_classes)), digits))
    found = summary("classification", outputs, torch.from_numpy(wanted))
    assert found["f1"] == pytest.approx(f1_score(wanted, outputs.argmax(1).numpy(), average="macro", zero_division=0.0))
    assert ("auc" in found) == (len(np.unique(wanted)) == n_classes)
    if "auc" in found:
        # Class by class, as it is done there: what is nearly tied may fall either way by the last bit of a share.
        shares = outputs.t().contiguous().softmax(0).t().numpy()
        scores, labels = (shares[:, 1], None) if n_classes == 2 else (shares, range(n_classes))
        assert found["auc"] == pytest.approx(roc_auc_score(wanted, scores, multi_class="ovr", labels=labels))


@given(n=st.integers(2, 80), n_scores=st.integers(1, 4), seed=st.integers(0, 1000))
def test_auc_counts_ties_half_where_nearly_all_are_tied(n, n_scores, seed):
    rng = np.random.default_rng(seed)
    scores, is_class = rng.integers(n_scores, size=n) / 3, rng.permutation(np.arange(n) < rng.integers(1, n))
    assert metrics._auc(scores, is_class) == pytest.approx(roc_auc_score(is_class, scores), abs=1e-12)
