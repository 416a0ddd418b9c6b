"""The tables of docs/presets.md, what others decay in the architectures; ``python tests/presets_page.py`` renews them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from architectures import ARCHITECTURES
from shrinkwise.regularization.rules import ApplyTo, Placement, disagreements, place

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
OTHERS: tuple[ApplyTo, ...] = ("timm", "huggingface", "nanogpt", "keras", "torch")
TASTE = "embedding"


def counted(placements: Iterable[Placement]) -> str:
    """Return ``2 norms (16), 1 scale (4)``: tensors of each role, and the numbers in them."""
    tensors, numbers = Counter(), Counter()
    for placed in placements:
        tensors[placed.role.value] += 1
        numbers[placed.role.value] += placed.parameter.numel()
    return ", ".join(f"{n} {_plural(role, n)} ({numbers[role]:,})" for role, n in sorted(tensors.items()))


def _plural(role: str, n: int) -> str:
    noun = "LoRA factor" if role == "lora" else role
    return noun if n == 1 else noun + ("es" if noun.endswith("s") else "s")


def cell(placements: tuple[Placement, ...], other: ApplyTo, *, is_taste: bool) -> str:
    found = [each for each in disagreements(placements, "weights", other) if (each.placement.role.value == TASTE) == is_taste]
    decayed = counted(each.placement for each in found if each.penalised_by == other)
    missed = counted(each.placement for each in found if each.free_by == other)
    said = [text for text in (decayed and f"decays {decayed}", missed and f"misses {missed}") if text]
    return "; ".join(said) or "-"


def tables() -> dict[bool, str]:
    """Return the table of errors under False, and that of taste under True."""
    placed = {architecture.name: place(architecture.make()) for architecture in ARCHITECTURES}
    head = f"| model | trained | {' | '.join(f'`{other}`' for other in OTHERS)} |\n|---|---|{'---|' * len(OTHERS)}\n"
    tables = {}
    for is_taste in (False, True):
        rows = []
        for name, placements in placed.items():
            trained = [placement for placement in placements if not placement.is_frozen]
            size = f"{len(trained)} ({sum(placement.parameter.numel() for placement in trained):,})"
            cells = [cell(placements, other, is_taste=is_taste) for other in OTHERS]
            if not is_taste or set(cells) != {"-"}:
                rows.append(f"| {name} | {size} | {' | '.join(cells)} |\n")
        tables[is_taste] = head + "".join(rows)
    return tables


def with_tables(page: str) -> str:
    """Return the page with its two tables put in anew, each between the comments that mark it."""
    for is_taste, table in tables().items():
        mark = "taste" if is_taste else "errors"
        before, _, rest = page.partition(f"<!-- {mark} -->\n")
        _, _, after = rest.partition(f"<!-- end of {mark} -->\n")
        page = f"{before}<!-- {mark} -->\n{table}<!-- end of {mark} -->\n{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
