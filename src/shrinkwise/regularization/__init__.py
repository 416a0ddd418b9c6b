"""The mathematics of regularisation and its binding to a live model.

Needs torch and numpy only, and drops into anybody's own training loop.
Reads top to bottom: apply, rules, strength, penalties and dropout.
"""
