"""Who takes part: each peer, the modes in which it is tried, and what its process is started with.

Nothing here imports a framework. A peer that has several modes is judged by its best one, so nobody loses by a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL = ("dense", "conv", "transformer")


@dataclass(frozen=True)
class Contestant:
    """One peer in one mode.

    Attributes:
        peer: Name in tables.
        module: File in ``peers/``.
        mode: What its ``train`` is told.
        kinds: Kinds of network that it trains.
        environment: Variables of its process.
        is_same_start: Whether its runs without dropout start from our weights and see our batches, so that they must agree.
    """

    peer: str
    module: str
    mode: str
    kinds: tuple[str, ...] = ALL
    environment: Mapping[str, str] = field(default_factory=dict)
    is_same_start: bool = True

    @property
    def name(self) -> str:
        """Peer and mode."""
        return f"{self.peer}:{self.mode}"


OURS, SINGLE, JAX = "shrinkwise", "single loop", "jax"
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}

CONTESTANTS: tuple[Contestant, ...] = (
    Contestant(OURS, "ours", "auto"),
    Contestant(SINGLE, "ours", "single"),
    *(Contestant("dataloader", "dataloader", threads) for threads in "12"),
    *(Contestant("indexed", "indexed", threads) for threads in "12"),
    Contestant("scikit-learn", "sklearn_grid", "2", ("dense",), is_same_start=False),
    *(
        Contestant(f"keras-{backend}", "keras_fit", backend, environment={"KERAS_BACKEND": backend}, is_same_start=False)
        for backend in ("jax", "torch")
    ),
    *(Contestant("torch.func", "ensembling", threads) for threads in "12"),
    *(
        Contestant(JAX, "jax_program", f"{layout}-vmap-{seeds}", ("dense",))
        for layout in ("concat", "stacked")
        for seeds in ("map", "vmap")
    ),
    Contestant(JAX, "jax_program", "concat-vmap-2", ("dense",), TWO_DEVICES),
    *(
        Contestant(JAX, "jax_program", f"{layout}-{runs}-map", ("conv",))
        for layout in ("conv", "patches")
        for runs in ("map", "vmap")
    ),
    Contestant(JAX, "jax_program", "patches-map-2", ("conv",), TWO_DEVICES),
    *(Contestant(JAX, "jax_program", f"stacked-{runs}-map", ("transformer",)) for runs in ("map", "vmap")),
    Contestant(JAX, "jax_program", "stacked-vmap-2", ("transformer",), TWO_DEVICES),
)
PEERS = tuple(dict.fromkeys(contestant.peer for contestant in CONTESTANTS))


def contestants(kind: str, n_seeds: int, peers: tuple[str, ...] = PEERS) -> list[Contestant]:
    """Return who trains a kind of network; modes that treat seeds alike where there is one are tried once."""
    chosen = [contestant for contestant in CONTESTANTS if contestant.peer in peers and kind in contestant.kinds]
    if n_seeds == 1:
        chosen = [contestant for contestant in chosen if contestant.peer != JAX or contestant.mode.endswith("-map")]
    return chosen
