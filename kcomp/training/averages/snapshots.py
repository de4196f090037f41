"""Save snapshots, and average their predictions. A snapshot is the weights at a minimum of a cosine with restarts."""

from typing import Any

import numpy as np

from kcomp.models.transfer import load_weights
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.callbacks import save_weights
from kcomp.training.session import Session


def snapshot(number: int) -> str:
    """Return the file name of snapshot `number`, counted from 1, in the run folder."""
    return f"snapshots/{number}.weights.h5"


class StageSnapshots(StageAverage):
    """Write a snapshot every `cycle` epochs, and average the predictions of the last ones.

    last: number of snapshots to average. None averages all.
    """

    def __init__(self, session: Session, last: int | None, cycle: int) -> None:
        self.session, self.last, self.cycle = session, last, cycle

    def epoch_ended(self, stage_epochs: int) -> None:
        if stage_epochs % self.cycle == 0:
            save_weights(self.session.run, self.session.network, snapshot(stage_epochs // self.cycle))

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return the mean predictions, or None if a callback ended the stage before the first snapshot.

        The second value is the entry `average` of result.json.
        """
        session = self.session
        count = session.progress.stage_epochs // self.cycle
        if not count:
            return None, {"method": "snapshots", "reason": "the stage ended before the first"}
        chosen = [snapshot(number) for number in range(max(0, count - (self.last or count)) + 1, count + 1)]
        predictions = []
        for name in chosen:
            load_weights(session.network, session.run / name)
            predictions.append(session.validate().astype(np.float64))
        after = session.progress.stage_epochs % self.cycle
        if after:  # save the last snapshot, now in the network, for exports and runs that start from it
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
