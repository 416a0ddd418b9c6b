"""A tuning from what is asked to what is told.

Joins selection with what is tuned (an experiment, or a function), with the store, a confirmation and a look at the layers.
"""
