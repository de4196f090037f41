"""Predict with the weights of a training that ends early, and reserve the time for it."""

import shutil
import time

from kcomp.models.transfer import load_weights
from kcomp.prediction.runs import RunPredictor, average_views, chosen_views, test_rows
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.training.run_files import WEIGHTS, save_weights
from kcomp.training.session import Session

FOLDER = "stopped"  # in the run folder
MARGIN = 1.3  # the reserve is the measured time of the predictions times this number
SPARE = 20.0  # seconds of the reserve for building a network, and for saving


def reserve_time(session: Session) -> None:
    """Tell the stopper of a training with a time limit how long the predictions at its end will take.

    The time of one image is measured with one batch, after another one that compiles the network.
    """
    if session.stopper.seconds is None:
        return
    table, config = session.validation.table, session.recipe
    tests = len(test_rows(session.run, config, None).ids) if config.test is not None else 0
    images = len(table.ids) + tests * len(chosen_views(config, None))
    batch = session.validation.load(0, 0)["images"]
    session.forward(batch)
    started = time.monotonic()
    session.forward(batch)
    seconds = (time.monotonic() - started) / len(batch)
    session.stopper.reserve = lambda: SPARE + MARGIN * seconds * images * (session.progress.best_epoch is not None)


def predict_stopped(session: Session) -> None:
    """Write predictions of the held-out rows and of the recipe's test rows into the folder `stopped` of the run.

    They are by the best weights or, with keep="last", by the present ones. Do nothing before the first epoch ends.
    """
    run, target, best = session.run, session.target, session.progress.best_epoch
    if best is None:
        return
    if session.recipe.keep == "last":
        save_weights(run, session.network)
    load_weights(session.network, run / WEIGHTS)
    values = session.validate()
    write_probabilities(run / FOLDER / "oof.csv", session.ids, target.prediction_columns, values)
    weights = f"the weights of epoch {best}" if session.recipe.keep == "best" else "the present weights"
    scores = "  ".join(f"{name} {value:.4f}" for name, value in session.scores(values).items())
    session.print_line(f"{run / FOLDER / 'oof.csv'}: held-out rows by {weights}: {scores}")
    if session.recipe.test is not None:
        predict_test_rows(session)


def predict_test_rows(session: Session) -> None:
    table, views = test_rows(session.run, session.recipe, None), chosen_views(session.recipe, None)
    by_view = RunPredictor(session.run, [session.run / WEIGHTS]).predict_views(table, views)
    ids, mean = average_views(table, by_view, session.target, None)
    path = session.run / FOLDER / "test.csv"
    write_probabilities(path, ids, session.target.prediction_columns, mean)
    session.print_line(f"{path}: {quantity(len(ids), 'test row')}, which kcomp submit takes")


def remove_stopped(run: Run) -> None:
    """Remove the predictions of an earlier stop."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
