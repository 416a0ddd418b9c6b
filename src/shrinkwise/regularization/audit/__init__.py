"""What an optimiser really does to each weight, and why, for code with no Shrinkwise in it.

Reads a model, its optimisers and, where given, its loss; measures on small stand-ins or on the real step.
Leaves everything that it looks at as it was, and says what it could not see.
"""

from shrinkwise.regularization.audit.auditing import audit
from shrinkwise.regularization.audit.result import Audit

__all__ = ["Audit", "audit"]
