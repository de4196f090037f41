"""Create the object that averages weights or predictions in a stage (part of a training)."""

from kcomp.averaging import EMA, Snapshots
from kcomp.recipe import Stage
from kcomp.training.averages.ema_swa import StageEMA, StageSWA
from kcomp.training.averages.snapshots import StageSnapshots
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.checks import cycle_epochs
from kcomp.training.session import Session


def build_stage_average(stage: Stage, session: Session) -> StageAverage:
    """Return the object that applies `stage.average` during training. For `average=None`, the object does nothing."""
    average = stage.average
    if average is None:
        return StageAverage()
    if isinstance(average, Snapshots):
        return StageSnapshots(session, average.last, cycle_epochs(stage))
    if isinstance(average, EMA):
        return StageEMA(session, stage, average.decay)
    return StageSWA(session, stage, average)
