"""Build the content of manifest.json, which describes a run: how to find it, repeat it and use its predictions."""

import importlib.metadata
import platform
import sys
import time
from typing import Any

import keras

import kcomp
from kcomp.data.splits import check_fold, fold_numbers, repeat_of
from kcomp.data.tables import Table
from kcomp.engine.devices import device_count
from kcomp.engine.threads import threads
from kcomp.experiment.build import fit_target
from kcomp.metrics.scores import Scorer
from kcomp.recipe import Loaded
from kcomp.system.code_version import code_version
from kcomp.system.determinism import determinism_is_on
from kcomp.system.fast_switch import fast_paths_are_on
from kcomp.system.processor import processor_name
from kcomp.training.origin import Origin


def build_manifest(
    loaded: Loaded, table: Table, *, seed: int, fold: int, origin: Origin | None = None
) -> dict[str, Any]:
    """Return the content of manifest.json for a new run.

    Args:
        loaded: The recipe, loaded from its file.
        table: All labelled rows, with their folds.
        seed: The seed of the run.
        fold: The fold that is held out.
        origin: Weights of another run to start from, or None.

    Raises:
        ValueError: If the table has no such fold.
    """
    check_fold(table, fold)
    backend, target = keras.backend.backend(), fit_target(table, fold)
    scorer = Scorer(loaded.recipe.metric_of(target), target)
    packages = ("keras", backend, "numpy", "albumentations", "opencv-python-headless", "scikit-learn")
    return {
        "recipe": loaded.name,
        "fingerprint": loaded.fingerprint(),
        "backend": backend,
        "device": device(),
        "processor": processor_name(),
        "threads": threads(),
        "deterministic": determinism_is_on(),
        "fast": fast_paths_are_on(),
        "seed": seed,
        "fold": fold,
        "metric": scorer.metric.name,
        "scores": [metric.name for metric in scorer.shown],
        "target": target.to_json(),
        "classes": list(target.prediction_columns),
        "image_pattern": table.pattern,
        "allow_outside": table.allow_outside,
        "id_column": table.id_column,
        "item_column": table.item_column,
        "item_average": table.item_average,
        "value_range": table.value_range,
        "table": table.fingerprint(),
        "folds": fold_numbers(table),
        "repeat": repeat_of(table, fold),
        "pseudo": table.pseudo_record(fold),
        "precision": loaded.recipe.precision,
        "command": sys.argv,
        "code": code_version(),
        "versions": {"kcomp": kcomp.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "from": origin.record if origin else None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def device() -> str:
    """Return the name of the training device, such as "cpu" or, for several, "4 x " and the name of the first."""
    if keras.backend.backend() == "jax":
        import jax

        kind, count = str(jax.devices()[0].device_kind), device_count()
        return kind if count == 1 else f"{count} x {kind}"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
