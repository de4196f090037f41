"""Make the files of finished runs for tests of `kcomp explain`, without a training."""

import json

import numpy as np

from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities

RECIPE = """
from dataclasses import dataclass
import pandas as pd
from kcomp import data, targets
from kcomp.recipe import Recipe

@dataclass(frozen=True)
class Config:
    pickle: str = ""

def table(config):
    return pd.read_pickle(config.pickle)

def nothing(config, *arguments, **options):
    raise NotImplementedError("this recipe only has a table")

recipe = Recipe(Config(), table=table, batches=nothing, model=nothing, stages=nothing, metric=None)
"""


def write_run(folder, target, ids, labels, predictions, *, metric, table=None, decisions=None, **changes):
    """Write the files of a finished run that held out the rows `ids`.

    table: The path of a pickled table that the recipe returns. None for a recipe whose table cannot be read.
    """
    manifest = {
        "recipe": "r",
        "fingerprint": "f",
        "backend": "jax",
        "seed": 0,
        "fold": 0,
        "classes": list(target.class_names),
        "table": "t",
        "target": target.to_json(),
        "metric": metric,
        "scores": [metric],
    } | changes
    (folder / "recipe").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = {"scores": {metric: 0.5}, "seconds": 1.0, "decisions": decisions}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "recipe" / "r.py").write_text(RECIPE.replace("metric=None", f'metric="{metric}"'))
    (folder / "config.json").write_text(json.dumps({"pickle": str(table) if table else "absent.pickle"}))
    write_probabilities(folder / "oof.csv", ids, target.prediction_columns, np.asarray(predictions, np.float32))
    write_probabilities(folder / "labels.csv", ids, target.columns, np.asarray(labels, np.float32))
    return Run(folder)
