"""Finish a training: choose the final weights, predict the held-out rows with them, and write the result."""

from typing import Any

from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.decisions import score_decisions
from kcomp.ensembles.joins import PARTS
from kcomp.measurements.checksum import images_checksum
from kcomp.models.transfer import load_weights
from kcomp.runs.probabilities import write_probabilities
from kcomp.system.files import write_json
from kcomp.training.callbacks import report_result
from kcomp.training.session import Session
from kcomp.training.stopped import remove_stopped


def finish(session: Session) -> dict[str, Any]:
    """Write the held-out predictions, labels and scores to the run folder, and return the content of result.json.

    The final weights predict the rows. They are from the best epoch, from the last epoch, or an average of weights.
    """
    run, target, progress = session.run, session.target, session.progress
    probabilities, average = session.stage_average.outcome()
    if probabilities is None:
        load_weights(session.network, run / "best.weights.h5")
        probabilities = session.validate()
    write_probabilities(run / "oof.csv", session.ids, target.prediction_columns, probabilities)
    write_probabilities(run / "labels.csv", session.ids, target.columns, session.labels)
    result = {
        "scores": session.scores(probabilities),
        "metric": session.scorer.metric.name,
        "keep": session.recipe.keep,
        "epoch": progress.epochs if average.get("accepted") else average.get("epoch", progress.best_epoch),
        "epochs": progress.epochs,
        "rows": len(session.ids),
        "images": images_checksum([session.training.table, session.validation.table]),
        "seconds": round(progress.seconds, 1),
    }
    result |= {"average": average} if average else {}
    parts = stratified_parts(target.strata(session.labels), PARTS)
    decisions = score_decisions(session.scorer, session.labels, probabilities, parts)
    if decisions is not None:
        result["decisions"] = decisions.to_json()
        session.console.print(decisions.describe(), highlight=False, soft_wrap=True)
    write_json(run / "result.json", result)  # last, because it marks the run as complete
    remove_stopped(run)
    report_result(session.recipe, run, progress.log, result)
    return result
