"""The public list: what it names is there, and what it needs is only what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shrinkwise as sw

EXTRAS = (
    "scipy",
    "sklearn",
    "pandas",
    "pydantic",
    "sqlalchemy",
    "typer",
    "rich",
    "jinja2",
    "plotly",
    "matplotlib",
    "loky",
    "transformers",
    "lightning",
)
BLOCK_EXTRAS = f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS!r}))\n"


def in_a_bare_interpreter(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where nothing but torch and numpy can be imported."""
    return subprocess.run([sys.executable, "-W", "error", "-c", BLOCK_EXTRAS + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sw.__all__)
def test_every_public_name_is_there(name):
    assert getattr(sw, name) is not None
    assert name in dir(sw)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'tun'"):
        sw.tun  # noqa: B018


def test_importing_shrinkwise_imports_nothing():
    done = in_a_bare_interpreter("import shrinkwise; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_the_regularization_wing_works_with_torch_and_numpy_alone():
    done = in_a_bare_interpreter(
        "import torch, shrinkwise as sw\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 4), sw.Dropout(0.0), torch.nn.Linear(4, 2))\n"
        "optimizer = torch.optim.AdamW(sw.param_groups(model, weight_decay=0.05), lr=1e-3)\n"
        "print([group['weight_decay'] for group in optimizer.param_groups], sw.convert(0.01, 'keras', 'half').value)\n"
        "print(sw.Regularizer(l2=0.1).bind(model).value() > 0, sw.L2(0.1))\n"
        "sw.Regularizer(l1=0.1, schedule=sw.schedules.Cosine(10)).bind(model).attach(optimizer, form='proximal')\n"
        "model(torch.ones(2, 3)).sum().backward(); optimizer.step()\n"
        "seen = sw.audit(model, optimizer)\n"
        "print(seen.to_text(200).splitlines()[0], seen['0.weight'].role, sw.rescale(0.1, 'adamw', lr=(1e-3, 2e-3)).value)\n"
    )
    assert done.returncode == 0, done.stderr
    headline = "Sequential with AdamW: 4 parameters, 26 values. Regularised: 2 parameters, 20 values."
    assert done.stdout.splitlines() == ["[0.05, 0.0] 0.02", "True L2(lam=0.1)", f"{headline} weight 0.05"]


def test_what_needs_the_extra_says_so_in_one_message():
    done = in_a_bare_interpreter(
        "import shrinkwise as sw\ntry:\n    sw.Experiment\nexcept ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MissingExtraError ")
    assert "pip install 'shrinkwise[experiments]'" in done.stdout.replace("Pip", "pip")


def test_the_command_without_the_extra_is_the_users_mistake():
    done = in_a_bare_interpreter("from shrinkwise.cli.main import main\nsys.exit(main(['demo']))")
    assert done.returncode == 2
    assert "the command line needs the extra 'experiments'" in done.stderr
    assert "Traceback" not in done.stderr
