"""Write the manual pages of all commands, from what they say of themselves, into man/.

Guarantees: the pages are the same whoever writes them, wherever; what they say is what `--help`
says. A wheel has them in share/man/man1, and a test compares them with the commands.
"""

import argparse
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from everlog.cli.main import cli

DIRECTORY = Path(__file__).resolve().parent.parent / "man"

# Click does not fill a paragraph that begins with this character.
_AS_IT_IS = "\b"

# Less than lines of sources may have, since escapes take room.
_WIDTH = 80

# Sections of their own; every other paragraph is the description's.
_SECTIONS = {"Examples:": "EXAMPLES", "Exit codes:": "EXIT STATUS", "Example:": "EXAMPLES"}


def main() -> None:
    """Write all pages, and remove those whose commands are gone."""
    argparse.ArgumentParser(description="Write the manual pages of all commands.").parse_args()
    DIRECTORY.mkdir(exist_ok=True)
    pages = dict(manual_pages())
    for path in DIRECTORY.glob("*.1"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")


def manual_pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page."""
    yield from _pages_of(cli, ("everlog",), None)


def _pages_of(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=path[-1], parent=parent, **command.context_settings)
    yield f"{'-'.join(path)}.1", _page(command, path, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from _pages_of(subcommand, (*path, name), context)


def _page(command: click.Command, path: tuple[str, ...], context: click.Context) -> str:
    name = "-".join(path)
    paragraphs = _paragraphs(command.help or "")
    summary = command.get_short_help_str(limit=1_000).rstrip(".")
    lines = [
        f'.TH "{name.upper()}" "1" "" "Everlog" "Everlog"',
        ".SH NAME",
        f"{_escaped(name)} \\- {_escaped(summary)}",
        ".SH SYNOPSIS",
        f".B {_escaped(' '.join(path))}",
        _escaped(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_body(paragraphs, None),
    ]
    options = [
        _option(option, context)
        for option in command.get_params(context)
        if isinstance(option, click.Option)
    ]
    lines += [".SH OPTIONS", *(line for option in options for line in option)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for each in command.list_commands(context):
            subcommand = command.get_command(context, each)
            assert subcommand is not None
            text = subcommand.get_short_help_str(limit=1_000)
            lines += [".TP", f".BR {_escaped(f'{name}-{each}')} (1)", _escaped(text)]
    epilog = _paragraphs(command.epilog or "")
    if epilog:
        lines += [".SH EXAMPLES", *_body(epilog, None)]
    for heading, title in _SECTIONS.items():
        body = _body(paragraphs, heading)
        if body:
            lines += [f".SH {title}", *body]
    if len(path) > 1:
        lines += [".SH SEE ALSO", f".BR {_escaped('-'.join(path[:-1]))} (1)"]
    return "\n".join([*lines, ""])


def _paragraphs(text: str) -> list[str]:
    return [part.strip("\n") for part in inspect.cleandoc(text).split("\n\n") if part.strip()]


def _body(paragraphs: list[str], section: str | None) -> list[str]:
    """Return the paragraphs that belong to a section, None for the description."""
    lines: list[str] = []
    for paragraph in paragraphs:
        is_as_it_is = paragraph.startswith(_AS_IT_IS)
        text = paragraph.removeprefix(_AS_IT_IS).lstrip("\n")
        first = text.partition("\n")[0]
        if (first if first in _SECTIONS else None) != section:
            continue
        if section is not None:
            text = text.partition("\n")[2]
        if not is_as_it_is:
            lines += [".PP", *_filled(text)]
            continue
        lines += [".PP", ".nf", *map(_escaped, inspect.cleandoc(text).split("\n")), ".fi"]
    return lines


def _option(option: click.Option, context: click.Context) -> list[str]:
    record = option.get_help_record(context)
    if record is None:
        return []
    flags, text = record
    return [".TP", f".B {_escaped(flags)}", *_filled(text)]


def _filled(text: str) -> list[str]:
    """Return a paragraph in lines that a person can review."""
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [*map(_escaped, lines)]


def _escaped(line: str) -> str:
    text = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
