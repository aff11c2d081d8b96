"""Print docs/cli.md, the page about the command line, from the commands' own help: run by ``make docs``."""

from __future__ import annotations

import click

from auditkit.cli import cli

INTRODUCTION = """\
# Command line

Generated from the commands' own help by `make docs`.

Data goes to standard output, progress and messages to standard error; `NO_COLOR` and `--quiet` are honoured.

| exit code | means |
|---|---|
| 0 | nothing at or above `--fail-on` (`diff`: equal) |
| 1 | findings (`diff`: differences) |
| 2 | wrong usage or settings; nothing was read |
| 3 | incomplete: something could not be reached, read or replayed |
| 130 | stopped with Ctrl-C; nothing is left running |
"""


def page() -> str:
    top = click.Context(cli, info_name="auditkit", terminal_width=100, **cli.context_settings)
    parts = [INTRODUCTION, _help(top)]
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command
        context = click.Context(command, info_name=name, parent=top, terminal_width=100)
        parts.append(f"## {name}\n\n{_help(context)}")
    return "\n".join(parts)


def _help(context: click.Context) -> str:
    lines = [line.rstrip() for line in context.get_help().splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


if __name__ == "__main__":
    print(page(), end="")
