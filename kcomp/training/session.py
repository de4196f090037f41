"""What training a run works on."""

from dataclasses import dataclass, field

import keras
import numpy as np
from rich.console import Console

from kcomp.data.batches import Batches
from kcomp.prediction.forward import compile_forward, predict_probabilities
from kcomp.recipe import Recipe, Stage
from kcomp.runs.folder import Run
from kcomp.training import state
from kcomp.training.averages.stage_average import StageAverage


@dataclass
class Session:
    """One run while it is trained."""

    recipe: Recipe
    run: Run
    network: keras.Model
    training: Batches
    validation: Batches
    stages: list[Stage]
    progress: state.TrainingProgress
    console: Console
    fingerprint: str  # of the recipe
    keeper: StageAverage = field(default_factory=StageAverage)  # of the stage that is trained

    def __post_init__(self) -> None:
        self.forward = compile_forward(self.network)
        self.continuing = self.progress.epochs > 0  # until the first stage has taken the state over

    def validate(self) -> np.ndarray:
        """Probabilities of the held-out rows with the weights as they are."""
        return predict_probabilities(self.forward, self.validation)
