"""The command `kcomp layers`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcomp.commands.common import RecipePath, backend_option, use_backend
from kcomp.system.errors import readable_errors

if TYPE_CHECKING:
    from kcomp.experiment.layers import LayerRow
    from kcomp.recipe import Stage


@click.command(short_help="Print the layers that a recipe's stages can train.")
@click.argument("recipe", type=RecipePath())
@backend_option
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; may be repeated."
)
@readable_errors
def layers(recipe: Path, backend: str | None, assignments: tuple[str, ...]) -> None:
    """Print the layers of a recipe's network: path, output shape, and how many weights.

    The table has a column for each stage of the recipe: how many of the weights this stage trains. `Stage(train=...)`
    selects layers by their paths. Layers without weights are left out. No pretrained weights are loaded. For a stage
    with `layer_decay`, a column has the factor of each layer's learning rate.
    """
    use_backend(backend)
    from kcomp.commands.train import load_recipe, read_table
    from kcomp.data.splits import fold_numbers
    from kcomp.experiment.build import build_network, build_stages, fit_target
    from kcomp.experiment.layers import layer_rows
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table

    loaded = load_recipe(recipe, assignments)
    table = read_table(loaded)
    target = fit_target(table, fold_numbers(table)[0])
    network = build_network(loaded.recipe, target, load_pretrained=False)
    stages = build_stages(loaded.recipe, target)
    rows = [row for row in layer_rows(network, stages) if row.weights]
    total = {"layer": "total", "type": "", "output": "", "weights": f"{sum(row.weights for row in rows):,}"}
    lines = [
        {
            "layer": row.path,
            "type": row.kind,
            "output": " x ".join(map(str, row.shape)),
            "weights": f"{row.weights:,}",
            **stage_cells(row, stages),
        }
        for row in rows
    ]
    for number, stage in enumerate(stages):
        total[stage.name] = f"{sum(row.trained[number] for row in rows):,}"
        if stage.layer_decay < 1:
            total[f"{stage.name} rate"] = ""
    print_table(
        PlainConsole(), [*lines, total], title=f"{recipe}: weights of each layer, and those that each stage trains"
    )


def stage_cells(row: "LayerRow", stages: Sequence["Stage"]) -> dict[str, str]:
    """Return {column: cell} for a layer: how many weights each stage trains, and the factor of their learning rate."""
    cells = {}
    for stage, number in zip(stages, row.trained, strict=True):
        cells[stage.name] = f"{number:,}"
        if stage.layer_decay < 1:
            factors = [f"{stage.layer_decay**depth:.3g}" for depth in row.depths[::-1]]
            cells[f"{stage.name} rate"] = f"x {' to '.join(dict.fromkeys([factors[0], factors[-1]]))}" if number else ""
    return cells
