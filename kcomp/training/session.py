"""The objects that the training of one run uses."""

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
from kcomp.system.stopping import Stopper
from kcomp.targets import Target
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.progress import TrainingProgress

SAVE_EVERY = 600.0  # seconds


@dataclass(frozen=True)
class SaveOptions:
    """How a run is saved and continued.

    Attributes:
        save_every: After how many seconds of an epoch the state is saved inside it.
        across: Whether to continue a run that the other backend started.
        stopper: When the training must stop.
    """

    save_every: float = SAVE_EVERY
    across: bool = False
    stopper: Stopper = field(default_factory=Stopper)


@dataclass
class Session:
    """The objects that one training (with one backend, seed and held-out fold) uses.

    Attributes:
        recipe: The user's description of the training.
        run: The run folder.
        target: What the network predicts, such as one of several classes. It is fitted on the training rows.
        network: The network, which returns logits.
        training: Batches of the training rows.
        validation: Batches of the held-out rows.
        stages: The parts of the training, in order. Each has its own trained layers, loss and optimizer.
        progress: How much of the training is finished.
        console: Where to print.
        fingerprint: A hash of the recipe.
        save_every: After how many seconds the state is saved inside an epoch.
        stopper: When the training must stop.
        stage_average: The object that averages weights in the current stage.
    """

    recipe: Recipe
    run: Run
    target: Target
    network: keras.Model
    training: Batches
    validation: Batches
    stages: list[Stage]
    progress: TrainingProgress
    console: Console
    fingerprint: str
    save_every: float = SAVE_EVERY
    stopper: Stopper = field(default_factory=Stopper)
    stage_average: StageAverage = field(default_factory=StageAverage)

    def __post_init__(self) -> None:
        self.forward = compile_forward(self.network)
        self.scorer = Scorer(self.recipe.metric_of(self.target), self.target)
        table = self.validation.table
        self.ids, self.labels = per_item(table, table.labels, self.target)  # of images, or of items
        self.continuing = False  # whether the saved state is not loaded yet

    def resume(self, progress: TrainingProgress) -> None:
        """Continue with the progress of a stopped run, or begin a new run if no batch is trained."""
        self.progress, self.continuing = progress, progress.has_begun

    def print_line(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def validate(self) -> np.ndarray:
        """Return predictions for the held-out rows with the current weights, (rows, columns). An item is one row."""
        return self.merge_items(predict_rows(self.forward, self.validation, self.target))

    def merge_items(self, predictions: np.ndarray) -> np.ndarray:
        """Return one row of predictions for each item (such as a patient), from those of its images. Do nothing without
        items.
        """
        return per_item(self.validation.table, predictions, self.target)[1]

    def scores(self, predictions: np.ndarray) -> dict[str, float]:
        """Return scores by name for predictions of the held-out rows (rows, columns), the recipe's metric first."""
        return self.scorer.all(self.labels, predictions)
