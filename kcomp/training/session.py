"""The objects that belong to the training of one run."""

from dataclasses import dataclass, field

import keras
import numpy as np
from rich.console import Console

from kcomp.data.batches import Batches
from kcomp.data.items import per_item
from kcomp.metrics.scores import Scorer
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.recipe import Recipe, Stage
from kcomp.runs.folder import Run
from kcomp.targets import Target
from kcomp.training import state
from kcomp.training.averages.stage_average import StageAverage


@dataclass
class Session:
    """The recipe, network, batches, stages and progress of a run during training."""

    recipe: Recipe
    run: Run
    target: Target  # fitted on the training rows
    network: keras.Model
    training: Batches
    validation: Batches
    stages: list[Stage]
    progress: state.TrainingProgress
    console: Console
    fingerprint: str  # of the recipe
    stage_average: StageAverage = field(default_factory=StageAverage)  # of the current stage

    def __post_init__(self) -> None:
        self.forward = compile_forward(self.network)
        self.scorer = Scorer(self.recipe.metric_of(self.target), self.target)
        table = self.validation.table
        self.ids, self.labels = per_item(table, table.labels, self.target)  # of the held-out images, or items
        self.continuing = self.progress.epochs > 0  # until the state is loaded into the current stage

    def validate(self) -> np.ndarray:
        """Return predictions (rows, columns) of the held-out images with the current weights.

        If several images belong to one item of the competition, there is one row for each item.
        """
        return self.merge_items(predict_rows(self.forward, self.validation, self.target))

    def merge_items(self, predictions: np.ndarray) -> np.ndarray:
        """Return the predictions (rows, columns) of items, computed from those of their images.

        An item is what the competition predicts, if several images belong to it. Without items, the predictions of
        the images are returned unchanged.
        """
        return per_item(self.validation.table, predictions, self.target)[1]

    def scores(self, predictions: np.ndarray) -> dict[str, float]:
        """Return the scores of predictions (rows, columns) of the held-out rows, by name, the recipe's metric first."""
        return self.scorer.all(self.labels, predictions)
