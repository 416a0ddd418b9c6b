"""The commands, gathered, and their usage errors in our words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer
from typer.exceptions import TyperException

from shrinkwise.cli.audit import audit
from shrinkwise.cli.compare import compare
from shrinkwise.cli.convert import convert
from shrinkwise.cli.demo import demo
from shrinkwise.cli.tune import tune
from shrinkwise.cli.verdict import verdict
from shrinkwise.errors import SettingError, did_you_mean

INTERRUPTED = 130

app = typer.Typer(
    name="shrinkwise",
    help="Does L2 help this network, how strongly should it act, and can one be sure? `shrinkwise demo` shows it in a minute.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Say which version this is, before any command."""
    if version:
        typer.echo(f"shrinkwise {metadata.version('shrinkwise')}")
        raise typer.Exit


app.command()(demo)
app.command()(compare)
app.command()(tune)
app.command()(verdict)
app.command()(audit)
app.command()(convert)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        SettingError: A command or flag is unknown, or a flag lacks its value.
    """
    try:
        code = app(list(argv), standalone_mode=False)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return 0
        raise _usage(error, argv) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == INTERRUPTED:
        # Typer turns Ctrl-C into this code and says nothing.
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _usage(error: TyperException, argv: Sequence[str]) -> SettingError:
    """Say a usage error as fact, cause and mend."""
    command = argv[0] if argv and argv[0] in _commands() else ""
    if option := getattr(error, "option_name", None):
        if type(error).__name__ == "NoSuchOption":
            if option[1:] in "0123456789.":
                number = next(word for word in argv if word.startswith(option))
                return SettingError(f"{number} is negative", "it stands where a strength does", "give 0 or a positive number")
            known = [flag for flag in _flags(command) if flag.startswith("--")]
            return SettingError(
                f"{option} is no flag", f"{f'shrinkwise {command}'.strip()} knows no such flag", did_you_mean(option, known)
            )
        return SettingError(
            f"{option} is not right", error.format_message().rstrip(".").lower(), f"see shrinkwise {command} --help"
        )
    word = next((word for word in argv if not word.startswith("-")), "")
    if not command and word:
        return SettingError(f"{word!r} is no command", "shrinkwise has no command of that name", did_you_mean(word, _commands()))
    return SettingError("the command line is not right", error.format_message().rstrip("."), f"see shrinkwise {command} --help")


def _commands() -> list[str]:
    return [command.callback.__name__ for command in app.registered_commands if command.callback]


def _flags(command: str) -> list[str]:
    group = typer.main.get_command(app)
    owner = getattr(group, "commands", {}).get(command, group)
    return [flag for parameter in owner.params for flag in parameter.opts]
