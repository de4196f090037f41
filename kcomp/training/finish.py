"""Finish a run: choose its final weights, predict the held-out rows, and write the result."""

from typing import Any

from kcomp.averaging import Snapshots
from kcomp.metrics import scores
from kcomp.models.transfer import load_weights
from kcomp.recipe import Stage
from kcomp.runs.probabilities import write_probabilities
from kcomp.system.files import write_json
from kcomp.training.averages.ema_swa import average_keeper
from kcomp.training.averages.snapshots import SnapshotKeeper
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.callbacks import tell_result
from kcomp.training.checks import cycle_epochs
from kcomp.training.session import Session


def keeper_of(stage: Stage, session: Session) -> StageAverage:
    """Return the object that computes the stage's `average` during training."""
    if isinstance(stage.average, Snapshots):
        return SnapshotKeeper(session, stage.average.last, cycle_epochs(stage, len(session.training)))
    return StageAverage() if stage.average is None else average_keeper(session, stage, stage.average)


def finish(session: Session) -> dict[str, Any]:
    """Predict the held-out rows with the final weights or snapshots, then write and return the result.

    result.json is written after all other files of the run, because it marks the run as complete.
    """
    run, table, progress = session.run, session.validation.table, session.progress
    probabilities, told = session.keeper.outcome()
    if probabilities is None:
        load_weights(session.network, run / "best.weights.h5")
        probabilities = session.validate()
    write_probabilities(run / "oof.csv", table.ids, table.classes, probabilities)
    write_probabilities(run / "labels.csv", table.ids, table.classes, table.labels)
    result = {
        "scores": scores.score(table.labels, probabilities),
        "monitor": session.recipe.monitor,
        "epoch": progress.epochs if told.get("accepted") else told.get("epoch", progress.best_epoch),
        "epochs": progress.epochs,
        "rows": len(table),
        "seconds": round(progress.seconds, 1),
    }
    result |= {"average": told} if told else {}
    write_json(run / "result.json", result)
    tell_result(session.recipe, run, progress.log, result)
    return result
