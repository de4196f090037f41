"""A program that makes competitions with faults, runs `kcomp check` on them, and prints what it finds.

Its last line on stderr says how many of the expected findings are reported.

Arguments: a folder for the files, then names of tests/competitions.py's FAULTS, "clean:<seed>" for no fault, or "all"
for every fault and four competitions without one. Names with a plus between them are faults of one competition.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from competitions import FAULTS, is_reported, make_clean

from kcomp.cli import main

RECIPE = """
import dataclasses

import keras

from kcomp import data, models
from kcomp.recipe import Recipe, Stage


@dataclasses.dataclass(frozen=True)
class Config:
    folder: str = {folder!r}


def table(config):
    rows = data.read_csv(f"{{config.folder}}/train.csv", "images", label="label")
    rows = data.stratified_folds(rows, 5, seed=0)
    {options}
    return rows


def test(config):
    return data.read_test(f"{{config.folder}}/test.csv", "images")


def batches(config, rows, training, seed):
    return data.Batches(rows, 96, batch_size=16, training=training, seed=seed)


def model(config, target):
    return models.classifier(models.efficientnet_lite0(96), target)


def stages(config):
    return [Stage("head", 1, "head", keras.optimizers.Adam(1e-3))]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, test=test)
"""


def check(folder, name):
    """Run `kcomp check` on a competition, and return the expected and the reported findings."""
    faults, _, seed = name.partition(":")
    competition = make_clean(folder / "data", int(seed or 0))
    for fault in faults.split("+"):
        if fault != "clean":
            FAULTS[fault](competition, np.random.default_rng(len(fault)))
    competition.write()
    recipe = folder / "recipe.py"
    recipe.write_text(RECIPE.format(folder=str(folder / "data"), options="\n    ".join(competition.options)))
    output = folder / "check"
    result = CliRunner().invoke(main, ["check", str(recipe), "-o", str(output)], catch_exceptions=False)
    assert result.exit_code == 0, f"{name}: {result.output}"
    with (output / "findings.csv").open(newline="") as file:
        findings = list(csv.DictReader(file))
    expected = [[kind, sorted(ids)] for kind, ids in competition.expected]
    return {"name": name, "expected": expected, "findings": findings}


if __name__ == "__main__":
    root, reported = Path(sys.argv[1]), []
    every = [*(f"clean:{seed}" for seed in range(4)), *FAULTS]
    for name in every if sys.argv[2:] == ["all"] else sys.argv[2:]:
        result = check(root / name.replace(":", "-"), name)
        print(json.dumps(result), flush=True)
        reported += [is_reported(result["findings"], kind, ids) for kind, ids in result["expected"]]
    print(f"{sum(reported)} of {len(reported)} expected findings are reported", file=sys.stderr)
