"""Anybody's training function: ``train(trial) -> metrics``.

What a trial offers, what is read of what comes back, which record a call leaves, and how such records are judged.
"""
