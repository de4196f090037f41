"""Average the weights of a network in a stage (part of a training): EMA after every update, SWA after epochs."""

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.averaging import SWA
from kcomp.models.trainable import leaves
from kcomp.recipe import Stage
from kcomp.training.averages.batch_norm import estimate, normalisations
from kcomp.training.averages.stage_average import StageAverage
from kcomp.training.run_files import save_weights
from kcomp.training.session import Session


class WeightAverage(StageAverage, ABC):
    """Base class of EMA and SWA.

    Attributes:
        sources: The weights of the network that are averaged.
        values: The average of each weight in `sources`.
        count: With EMA, how many batches were trained. With SWA, how many epochs are averaged.
        variables: `count` and `values`. The saved state of a run includes them.
    """

    def __init__(self, session: Session, stage: Stage) -> None:
        self.session, self.stage = session, stage
        weights = [weight for _, layer in leaves(session.network) if layer.trainable for weight in layer.weights]
        self.sources = [weight for weight in weights if "float" in keras.backend.standardize_dtype(weight.dtype)]
        self.values = [  # copies, because JAX cannot donate one buffer twice
            keras.Variable(ops.copy(source.value), dtype=source.dtype, trainable=False, name=source.name)
            for source in self.sources
        ]
        self.count = keras.Variable(0, dtype="int32", trainable=False, name="count")
        self.variables = [self.count, *self.values]

    def move(self, share: Any) -> None:
        """Set average += share * (weights - average). `share` is a number or a scalar tensor, from 0 to 1."""
        if keras.backend.backend() == "torch":
            import torch

            with torch.no_grad():
                ours = [value.value for value in self.values]
                ways = torch._foreach_sub([source.value for source in self.sources], ours)
                torch._foreach_mul_(ways, share)
                torch._foreach_add_(ours, ways)
        else:
            for value, source in zip(self.values, self.sources, strict=True):
                value.assign(value.value + (ops.stop_gradient(source.value) - value.value) * share)

    @abstractmethod
    def epochs_to_beat(self) -> list[int]:
        """Return the numbers of epochs, from 1, whose scores the average must beat to be used.

        It must also beat the best or last epoch, which this list leaves out.
        """

    def complete(self) -> None:
        """Finish the average, and copy it into the network."""
        for value, source in zip(self.values, self.sources, strict=True):
            source.assign(value.value)

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return two things: predictions (rows, columns) for the held-out rows, and the entry `average` of result.json.

        If the average scores better than all single epochs, its weights replace best.weights.h5. Otherwise, the
        predictions are None.
        """
        session, metric = self.session, self.session.scorer.metric
        progress, epochs = session.progress, self.epochs_to_beat()
        record: dict[str, Any] = {"method": type(self.stage.average).__name__, "metric": metric.name, "accepted": False}
        if isinstance(self.stage.average, SWA):
            record["epochs"] = epochs
            if len(epochs) < 2:
                return self.print_outcome(
                    None, record | {"reason": f"the stage ended with {len(epochs)} epochs to average"}
                )
        self.complete()
        probabilities = session.validate()
        score = session.scores(probabilities)[metric.name]
        compared = {*epochs, progress.best_epoch}
        rows = [row for row in progress.log if row["epoch"] in compared]
        best = rows[0]
        for row in rows:
            best = row if metric.is_better(row[metric.name], best[metric.name]) else best
        record |= {"score": score, "best_epoch": best["epoch"], "best_score": best[metric.name]}
        if not metric.is_better(score, best[metric.name]):
            against = f"{metric.name} {score:.4f} is no gain over {best[metric.name]:.4f} of epoch {best['epoch']}"
            return self.print_outcome(None, record | {"reason": against})
        save_weights(session.run, session.network)
        return self.print_outcome(probabilities, record | {"accepted": True})

    def print_outcome(
        self, probabilities: np.ndarray | None, record: dict[str, Any]
    ) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Print whether the average becomes the run's weights, and return the second and third argument unchanged."""
        text = f"stage {self.stage.name!r}: the {record['method']} is "
        if record["accepted"]:
            text += f"kept: {record['metric']} {record['score']:.4f} out of fold, "
            text += f"{record['best_score']:.4f} the best without"
        else:
            text += f"refused: {record['reason']}"
        self.session.console.print(text, highlight=False, soft_wrap=True)
        return probabilities, record


class StageEMA(WeightAverage):
    """Update an exponential moving average of the weights inside the compiled training step.

    After update t, average = d * average + (1 - d) * weights with d = min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, session: Session, stage: Stage, decay: float) -> None:
        super().__init__(session, stage)
        self.decay, self.compiled = decay, self.variables
        parts = getattr(stage.optimizer, "optimizers", [stage.optimizer])
        self.accumulated = max(getattr(part, "gradient_accumulation_steps", None) or 1 for part in parts)

    def in_step(self) -> None:
        batches = self.count.value
        update = ops.cast(batches // self.accumulated, "float32")  # at update 0, average and weights are equal
        decay = ops.minimum((1.0 + update) / (10.0 + update), self.decay)
        self.move(ops.where(batches % self.accumulated == 0, 1.0 - decay, 0.0))
        self.count.assign(batches + 1)

    def epochs_to_beat(self) -> list[int]:
        return [self.session.progress.epochs]

    def complete(self) -> None:
        self.in_step()
        super().complete()


class StageSWA(WeightAverage):
    """Compute the mean of the weights at the ends of several epochs (stochastic weight averaging)."""

    def __init__(self, session: Session, stage: Stage, swa: SWA) -> None:
        super().__init__(session, stage)
        self.swa = swa

    def epoch_ended(self, stage_epochs: int) -> None:
        if self.swa.takes(stage_epochs):
            count = int(self.count.value) + 1
            self.count.assign(count)
            self.move(1.0 / count)

    def epochs_to_beat(self) -> list[int]:
        progress = self.session.progress
        before = progress.epochs - progress.stage_epochs
        return [before + epoch for epoch in range(1, progress.stage_epochs + 1) if self.swa.takes(epoch)]

    def complete(self) -> None:
        super().complete()
        norms = [layer for layer in normalisations(self.session.network) if layer.trainable]
        if norms:
            training = self.session.training
            layers = training.layers if self.stage.cache_views is None else ()  # else, layers mix cached features
            estimate(self.session.network, norms, training, epoch=self.session.progress.epochs - 1, layers=layers)
