"""Train and predict from Python: `kcomp.train` and `kcomp.predict`."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from kcomp.notebook.process import run_child
from kcomp.runs.folder import Run
from kcomp.system.backends import choose_backend


def train(
    recipe: str | Path,
    /,
    *,
    backend: str | None = None,
    fold: int = 0,
    seed: int = 0,
    output: str | Path | None = None,
    **values: Any,
) -> Run:
    """Train a run: one recipe with one backend, seed and fold. The training is a child process, as by `kcomp train`.

    A complete run is not trained again, and an interrupted run is continued.

    Args:
        recipe: The path of a recipe, or the name of a recipe that comes with kcomp.
        backend: "jax" or "torch". None for $KERAS_BACKEND. Without this variable, JAX if it is installed, else PyTorch.
        fold: The fold that is held out, from 0.
        seed: Seed of the initial weights, the batches and dropout.
        output: The run folder. None for runs/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>.
        values: New values of the recipe's config, by name.

    Returns:
        The complete run.

    Raises:
        TypeError: If `recipe` is not a path, or a value cannot be stored as JSON.
        ValueError: If the recipe has no such value, or a check of the recipe or of its data fails.
        BusyError: If another process is training the run.
        RuntimeError: If the child process is killed, or raises an unusual error.

    Examples:
        >>> import kcomp
        >>> run = kcomp.train("digits", backend="jax", epochs=2)  # doctest: +SKIP
        >>> run.oof.shape  # doctest: +SKIP
        (288, 10)
    """
    if not isinstance(recipe, str | Path):
        raise TypeError(
            "a training runs in another process, which needs the source of the recipe: write it to a file (in a "
            f"notebook with %%writefile mine.py) and pass the path; received {type(recipe).__name__}"
        )
    for name, value in values.items():
        check_json(name, value)
    arguments = {"recipe": str(recipe), "values": values, "seed": seed, "fold": fold}
    arguments["output"] = None if output is None else str(output)
    return Run(Path(run_child("train", arguments, choose_backend(backend or os.environ.get("KERAS_BACKEND")))))


def predict(
    run: Run | str | Path, test: str | Path | None = None, *, views: int | None = None, backend: str | None = None
) -> pd.DataFrame:
    """Predict test images with a run, and write the predictions to the run's test.csv. A child process does it.

    Args:
        run: A complete run, or its folder.
        test: A CSV file of image ids, or a folder of images. None for the test rows of the recipe.
        views: For test-time augmentation, the number of randomly augmented copies of each image that are predicted too.
            The predictions of an image and its copies are averaged. None for the views that the recipe defines.
        backend: "jax" or "torch". None for the backend that trained the run, if it is installed.

    Returns:
        One row for each image id (the index), one column for each class or number.

    Raises:
        RuntimeError: If the run is not complete.
        ValueError: If the recipe has no test rows and `test` is None.

    Examples:
        >>> import kcomp
        >>> frame = kcomp.predict("runs/digits/0123456789ab/jax-seed0-fold0", "test_images")  # doctest: +SKIP
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    if not run.complete:
        raise RuntimeError(f"{run.folder} is not complete; train it to its end")
    chosen = choose_backend(backend, preferred=run.manifest["backend"])
    arguments = {"run": str(run.folder), "test": None if test is None else str(test), "views": views}
    run_child("predict", arguments, chosen)
    return run.test


def check_json(name: str, value: Any) -> None:
    try:
        json.dumps(value)
    except TypeError:
        raise TypeError(
            f"a value of a recipe must be a number, a text, None, or a tuple of these; {name} is {value!r}"
        ) from None
