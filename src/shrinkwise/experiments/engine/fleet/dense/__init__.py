"""The passes of chains of dense layers, written by hand.

Which networks are one, their tensors laid out for a size of batch, their dropout, and the inputs that are silent in training.
Knows nothing of optimisers: gradients go where an update takes them.
"""
