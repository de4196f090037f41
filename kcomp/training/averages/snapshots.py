"""Save snapshots (weights at minima of the learning rate), and average their predictions."""

from typing import Any

import numpy as np

from kcomp.models.transfer import load_weights
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.run_files import file_hash, save_weights
from kcomp.training.session import Session


def snapshot_name(number: int) -> str:
    """Return the file name of a snapshot in the run folder. Snapshots are counted from 1."""
    return f"snapshots/{number}.weights.h5"


class StageSnapshots(StageAverage):
    """Save a snapshot of the weights every `cycle` epochs, and average the predictions of the last snapshots.

    `last` is the number of snapshots that are averaged. None averages all.
    """

    def __init__(self, session: Session, last: int | None, cycle: int) -> None:
        self.session, self.last, self.cycle = session, last, cycle

    def epoch_ended(self, stage_epochs: int) -> None:
        if stage_epochs % self.cycle == 0:
            session, name = self.session, snapshot_name(stage_epochs // self.cycle)
            save_weights(session.run, session.network, name)
            session.progress.files |= {name: file_hash(session.run / name)}

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return two things: predictions (rows, columns) for the held-out rows, and the entry `average` of result.json.

        The predictions are the mean over the snapshots. They are None without a snapshot.
        """
        session = self.session
        count = session.progress.stage_epochs // self.cycle
        if not count:
            return None, {"method": "snapshots", "reason": "the stage ended before the first"}
        chosen = [snapshot_name(number) for number in range(max(0, count - (self.last or count)) + 1, count + 1)]
        predictions = []
        for name in chosen:
            load_weights(session.network, session.run / name)
            predictions.append(session.validate().astype(np.float64))
        after = session.progress.stage_epochs % self.cycle
        if after:  # best.weights.h5 has later weights: replace them by the last snapshot, which the network has now
            save_weights(session.run, session.network)
        snapshot_scores = {
            name: session.scores(probabilities) for name, probabilities in zip(chosen, predictions, strict=True)
        }
        epoch = session.progress.epochs - after
        return session.target.average(predictions), {
            "method": "snapshots",
            "epoch": epoch,
            "weights": chosen,
            "scores": snapshot_scores,
        }
