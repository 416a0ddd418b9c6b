"""The passes of any module that torch.func can map over runs.

Which networks are one computation, what a forward changes, per-run dropout, and the traced gradient.
Knows nothing of optimisers: gradients go where an update takes them.
"""
