"""The commands as one type, from which tyro writes completions for shells.

A command that runs is parsed alone, by its own class. A completion needs all of them: a choice for the first word, and for a
group such as `text` another one for the second.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro

FLAG = "--tyro-print-completion"
"""tyro's own, which it has for every program."""

SHELLS = ("bash", "zsh")


def print_completion(commands: Mapping[str, type], shell: str) -> None:
    """Print the script that completes `hypernetworks` in a shell.

    Args:
        commands: the class of each command, by its one or two words.
        shell: one of `SHELLS`.
    """
    arguments = [FLAG, shell]
    try:
        tyro.cli(_choice(commands), prog="hypernetworks", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as end:  # when the script is printed
        if end.code:
            raise


def _choice(commands: Mapping[str, type]) -> Any:
    """The union of the commands; those that share their first word are one of its members."""
    groups: dict[str, dict[str, type]] = {}
    for command, kind in commands.items():
        first, _, second = command.partition(" ")
        groups.setdefault(first, {})[second] = kind
    members = [
        Annotated[kind, tyro.conf.subcommand(first)]
        if (kind := below.get(""))
        else Annotated[Any, tyro.conf.subcommand(first, constructor=_group(below))]
        for first, below in groups.items()
    ]
    return Union[tuple(members)]  # noqa: UP007  made of a list


def _group(below: Mapping[str, type]) -> Any:
    """What tyro calls with one of these commands."""

    def group(command: Any) -> Any:
        return command

    one = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in below.items())]  # noqa: UP007
    group.__annotations__["command"] = Annotated[one, tyro.conf.arg(name="")]
    return group
