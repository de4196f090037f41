"""The command `kcomp cache`."""

import click

from kcomp.system.cache import KINDS, cache_folder, cache_use, empty_cache
from kcomp.system.errors import readable_errors


@click.command(short_help="Show how large the cache is, or empty it.")
@click.option(
    "--empty",
    "kinds",
    multiple=True,
    type=click.Choice([*KINDS, "all"]),
    metavar="KIND",
    help="Remove the files of this kind, or of all; may be repeated. Trainings that use them now may fail.",
)
@readable_errors
def cache(kinds: tuple[str, ...]) -> None:
    """Show the files that kcomp caches, by kind. With --empty, remove them.

    The folder is $KCOMP_CACHE or, by default, kcomp's folder in the user's cache folder. kcomp makes removed files
    again when it needs them.
    """
    import time

    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table
    from kcomp.report.text import file_size

    for kind in KINDS if "all" in kinds else kinds:
        empty_cache(kind)
    uses = cache_use()
    rows = [
        {
            "kind": use.kind,
            "files": use.files,
            "size": file_size(use.size),
            "last written": time.strftime("%Y-%m-%d %H:%M", time.localtime(use.changed)) if use.files else "-",
            "content": KINDS[use.kind],
        }
        for use in uses
    ]
    print_table(PlainConsole(), rows)
    click.echo(f"{file_size(sum(use.size for use in uses))} in {cache_folder()}")
