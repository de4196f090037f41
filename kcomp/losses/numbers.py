"""Losses for regression and for grades."""

from typing import Any

from keras import ops

from kcomp.losses.base import TargetLoss
from kcomp.targets import Grades, Numbers, Target
from kcomp.targets.losses import huber, tweedie


class Huber(TargetLoss):
    """Squared error of small errors, and absolute error of large ones.

    The loss of an error e is e ** 2 / 2 up to |e| = delta, and delta * (|e| - delta / 2) above. For `Numbers`, e is in
    standard deviations of the labels, and missing labels are left out. For `Grades` with loss_name="regression", e is
    in grades.

    Args:
        delta: The error from which the loss is linear, above 0, in the unit of e. With 1, it is the default loss of
            `Numbers`.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If `delta` is out of range, or the loss does not fit the target.

    References:
        Huber 1964, Robust estimation of a location parameter.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.Huber(0.5, target=targets.Numbers(("grams",), mean=(200.0,), scale=(100.0,)))
        >>> float(loss(np.array([[100.0]]), np.array([[1.0]])))  # an error of 2 standard deviations
        0.875
    """

    fits = (Numbers, Grades)

    def __init__(self, delta: float = 1.0, *, target: Target | None = None) -> None:
        if not delta > 0:
            raise ValueError(f"delta must be above 0; received {delta}")
        self.delta = delta
        super().__init__(target)

    def bind(self, target: Target) -> None:
        super().bind(target)
        if isinstance(target, Grades) and target.loss_name != "regression":
            raise ValueError(f"Huber is for grades with loss_name='regression'; received {target.loss_name!r}")
        if isinstance(target, Numbers) and target.link != "identity":
            raise ValueError(f"Huber is for numbers with link='identity'; received {target.link!r}")

    def elements(self, labels: Any, logits: Any) -> Any:
        target = self.bound_target
        if isinstance(target, Grades):
            return huber(logits + target.top / 2 - labels, self.delta)
        assert isinstance(target, Numbers)
        return huber(logits - target.standardized(labels), self.delta)


class Tweedie(TargetLoss):
    """Deviance of a Tweedie distribution: for numbers of at least 0 whose spread grows with their mean, such as counts.

    With a label y, a prediction m above 0 and the power p, the loss is

        m ** (2 - p) / (2 - p) - y * m ** (1 - p) / (1 - p)

    This is half of the deviance, without its constant. It assumes that the variance of y is proportional to m ** p. The
    power 1 is the Poisson distribution, for counts, with the loss m - y * log(m). With a power between 1 and 2, the
    number may be 0 in some rows and a positive amount in others. Both y and m are divided by the mean of the labels.

    The target must be `Numbers(names, link="log")`, so that predictions are above 0.

    Args:
        power: p, from 1 to below 2.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If `power` is out of range, or the loss does not fit the target.

    References:
        Tweedie 1984; Jørgensen 1987, Exponential dispersion models.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> target = targets.Numbers(("cells",), mean=(4.0,), scale=(2.0,), link="log")
        >>> loss = losses.Tweedie(1.5, target=target)
        >>> float(loss(np.array([[4.0]]), np.array([[0.0]])))  # y = m = 1: 1 / 0.5 + 1 / 0.5
        4.0
    """

    fits = (Numbers,)

    def __init__(self, power: float = 1.5, *, target: Target | None = None) -> None:
        if not 1 <= power < 2:
            raise ValueError(f"power must be from 1 to below 2; received {power}")
        self.power = power
        super().__init__(target)

    def bind(self, target: Target) -> None:
        super().bind(target)
        if isinstance(target, Numbers) and target.link != "log":
            raise ValueError("Tweedie needs predictions above 0; give the table the target Numbers(names, link='log')")

    def elements(self, labels: Any, logits: Any) -> Any:
        target = self.bound_target
        assert isinstance(target, Numbers)
        return tweedie(labels / ops.convert_to_tensor(target.mean, dtype=logits.dtype), logits, self.power)
