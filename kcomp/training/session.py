"""What training a run works on."""

from dataclasses import dataclass, field

import keras
import numpy as np
from rich.console import Console

from kcomp import predict
from kcomp.data.batches import Batches
from kcomp.recipe import Recipe, Stage
from kcomp.runs import Run
from kcomp.training import state
from kcomp.training.keepers import Keeper


@dataclass
class Session:
    """One run while it is trained."""

    recipe: Recipe
    run: Run
    network: keras.Model
    training: Batches
    validation: Batches
    stages: list[Stage]
    progress: state.Progress
    console: Console
    fingerprint: str  # of the recipe
    keeper: Keeper = field(default_factory=Keeper)  # of the stage that is trained

    def __post_init__(self) -> None:
        self.forward = predict.forward_of(self.network)
        self.continuing = self.progress.epochs > 0  # until the first stage has taken the state over

    def validate(self) -> np.ndarray:
        """Probabilities of the held-out rows with the weights as they are."""
        return predict.probabilities(self.forward, self.validation)
