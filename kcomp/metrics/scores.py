"""Score predictions with the recipe's metric and with the other metrics that kcomp shows for the target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics.metric import Metric
from kcomp.metrics.names import get
from kcomp.targets import Target


@dataclass(frozen=True)
class Scorer:
    """The recipe's metric, and the other metrics that kcomp shows for the target.

    Args:
        metric: The metric of the recipe.
        target: The target of the labels. Its `shown_metrics` names the other metrics.
    """

    metric: Metric
    target: Target

    def __call__(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        """Return the value of the recipe's metric for predictions (rows, columns)."""
        return self.metric(labels, predictions, self.target)

    def all(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """Return the values of all metrics in `shown`, by name. An undefined value is NaN."""
        return score_each(self.shown, labels, predictions, self.target)

    @property
    def shown(self) -> list[Metric]:
        return self.first(len(self.target.shown_metrics))

    def first(self, count: int) -> list[Metric]:
        """Return a list of metrics: the recipe's metric, then the first `count` metrics of the target. No metric
        appears twice.
        """
        return [self.metric, *(get(name) for name in self.target.shown_metrics[:count] if name != self.metric.name)]


def score_each(
    metrics: Sequence[Metric], labels: np.ndarray, predictions: np.ndarray, target: Target
) -> dict[str, float]:
    return {metric.name: metric(labels, predictions, target) for metric in metrics}
