"""Write one page for each command from click's own help, when mkdocs builds the site."""

import inspect

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from kcomp.cli import main


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/commands/NAME.md for every command."""
    for name, command in main.commands.items():
        files.append(File.generated(config, f"reference/commands/{name}.md", content=command_page(name, command)))
    return files


def command_page(name: str, command: click.Command) -> str:
    """Return the page of one command as Markdown: usage, description, options."""
    context = click.Context(command, info_name=f"kcomp {name}")
    usage = f"kcomp {name} {' '.join(command.collect_usage_pieces(context))}"
    description = inspect.cleandoc(command.help or "").replace("\b\n", "")
    rows = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and record[1]
    ]
    lines = [
        f"# kcomp {name}",
        "",
        f"After reading this page you can give every option of `kcomp {name}`. "
        "The page is made from the text that `--help` prints.",
        "",
        f"```text\n{usage}\n```",
        "",
        description,
        "",
        "| option | meaning |",
        "|---|---|",
        *(f"| {cell(f'`{option}`')} | {cell(text)} |" for option, text in rows),
        "",
    ]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return the text on one line, with the characters escaped that would end a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
