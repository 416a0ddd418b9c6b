"""Runs experiments and judges them.

Uses the regularization wing, never the other way round.
Reads top to bottom: experiment, report and execution, engine, models and data and stats, records.
"""
