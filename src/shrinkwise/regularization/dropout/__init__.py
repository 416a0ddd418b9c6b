"""The forms of dropout, standard and as the article describes them.

Masks come from a counter-based generator, keyed by seed, optimiser step, layer and element.
Knows neither optimisers nor training loops.
"""

from shrinkwise.regularization.dropout.module import Backward, Dropout, dropouts, place_dropout, set_step

__all__ = ["Backward", "Dropout", "dropouts", "place_dropout", "set_step"]
