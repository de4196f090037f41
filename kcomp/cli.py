"""The command line of kcomp. Each command chooses Keras's backend before it imports Keras."""

import click

from kcomp import __version__
from kcomp.commands.cache import cache
from kcomp.commands.check import check
from kcomp.commands.compare import compare
from kcomp.commands.diff import diff
from kcomp.commands.ensemble import ensemble
from kcomp.commands.explain import explain
from kcomp.commands.export import export
from kcomp.commands.find_rate import find_rate
from kcomp.commands.layers import layers
from kcomp.commands.new import new
from kcomp.commands.predict import predict
from kcomp.commands.pseudo import pseudo
from kcomp.commands.runs import runs
from kcomp.commands.soup import soup
from kcomp.commands.submit import submit
from kcomp.commands.sweep import sweep
from kcomp.commands.train import train
from kcomp.commands.tune import tune
from kcomp.commands.verify import verify
from kcomp.system.errors import ReadableGroup
from kcomp.system.notices import print_plainly


@click.group(cls=ReadableGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kcomp")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Image competitions in Keras 3: one recipe, trained on JAX and on PyTorch, compared and averaged."""
    print_plainly()


COMMANDS = {
    "Start": (new, check),
    "Train": (train, sweep, tune, find_rate),
    "Look at recipes and runs": (layers, runs, explain, compare, diff, verify),
    "Predict and join": (predict, ensemble, soup, pseudo),
    "Submit and export": (submit, export),
    "Manage files": (cache,),
}
for section in COMMANDS.values():
    for command in section:
        main.add_command(command)
main.sections = {title: [str(command.name) for command in section] for title, section in COMMANDS.items()}

if __name__ == "__main__":
    main()
