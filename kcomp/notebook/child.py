"""Run a function for a notebook in a child process: python -m kcomp.notebook.child REQUEST ANSWER.

REQUEST is a JSON file with the entries "function" (a name), "backend" and "arguments". ANSWER is the JSON file that the
process writes. It has the "result", or the "type" and the "message" of an error.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kcomp.system.backends import prepare_backend
from kcomp.system.errors import recipe_line
from kcomp.system.files import read_json, write_json
from kcomp.system.import_hook import lazy_keras
from kcomp.system.notices import print_plainly


def main(request_file: Path, answer_file: Path) -> None:
    request = read_json(request_file)
    print_plainly()
    prepare_backend(request["backend"])
    try:
        answer = {"result": FUNCTIONS[request["function"]](**request["arguments"])}
    except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
        place = recipe_line(error)
        message = " ".join(str(error).split()) + (f" ({place})" if place else "")
        answer = {"type": type(error).__name__, "message": message}
    write_json(answer_file, answer)
    sys.exit("result" not in answer)


def train(recipe: str, values: Mapping[str, Any], *, seed: int, fold: int, output: str | None) -> str:
    """Train a run of a recipe to its end, and return the path of the run's folder.

    Args:
        recipe: Path of the recipe, a Python file.
        values: New values of the recipe's config, by name.
        seed: Seed of the training.
        fold: The fold that is held out.
        output: The path of the run's folder. None for the folder that `kcomp train` would choose.
    """
    from kcomp import recipe as recipes
    from kcomp.report.console import PlainConsole
    from kcomp.runs.folder import Run, default_folder
    from kcomp.values import values_from_json

    with lazy_keras():
        loaded = recipes.load(recipe)
        loaded = loaded.with_values(**values_from_json(loaded.recipe.config, values))
    import keras

    from kcomp.training.fit import train as fit

    backend = keras.backend.backend()
    run = Run(Path(output) if output else default_folder(loaded, backend, seed=seed, fold=fold, root=Path("runs")))
    plain = PlainConsole(force_terminal=False)  # a notebook sets FORCE_COLOR, but the output goes to a file
    fit(loaded, run, seed=seed, fold=fold, console=plain)
    return str(run.folder)


def predict(run: str, *, test: str | None, views: int | None) -> str:
    """Predict test images with a run, and write the predictions to test.csv in the run's folder.

    Args:
        run: The path of the run's folder.
        test: A CSV file of image ids, or a folder of images. None for the test rows of the recipe.
        views: The number of randomly augmented copies of each image. Their predictions and that of the image are
            averaged. None for the views of the recipe.

    Returns:
        A line of text that describes test.csv.
    """
    from kcomp.prediction.runs import predict_run
    from kcomp.runs.folder import Run

    count = None if views is None else str(views)
    line = predict_run(Run(Path(run)), Path(test) if test else None, count=count, output=None)
    print(line)
    return line


FUNCTIONS: Mapping[str, Callable[..., str]] = {"train": train, "predict": predict}

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
