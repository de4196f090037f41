"""Draw the curves of the losses, docs/images/losses.png.

KERAS_BACKEND=torch python scripts/loss_picture.py
"""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp import losses, targets
from kcomp.report.canvas import COLOURS, canvas, png

ONE = targets.OneOf(("other", "true"))
SEVERAL = targets.AnyOf(("label",))
NUMBERS = targets.Numbers(("number",), mean=(0.0,), scale=(1.0,))
COUNTS = targets.Numbers(("count",), mean=(1.0,), scale=(1.0,), link="log")
PROBABILITIES = np.linspace(0.005, 0.995, 200)
ANGLES = np.linspace(0.0, math.pi, 200)
SCALE = 10.0
Curve = tuple[str, np.ndarray]


def row_losses(loss: losses.TargetLoss, labels: Any, logits: Any) -> np.ndarray:
    """Return the loss of each row, (rows,), for labels and logits (rows, columns)."""
    arrays = (np.asarray(values, np.float32) for values in (labels, logits))
    values: np.ndarray = keras.ops.convert_to_numpy(loss.call(*map(keras.ops.convert_to_tensor, arrays)))
    return values


def over_probability(loss: losses.TargetLoss, label: float = 1.0) -> np.ndarray:
    """Return the loss at each of PROBABILITIES: of the true class, or for several labels of the label."""
    odds = np.log(PROBABILITIES / (1 - PROBABILITIES))[:, None]
    if loss.target is ONE:
        return row_losses(loss, np.eye(2)[[1] * len(odds)], np.hstack([np.zeros_like(odds), odds]))
    return row_losses(loss, np.full_like(odds, label), odds)


def focal() -> list[Curve]:
    return [(f"gamma={gamma:g}", over_probability(losses.Focal(gamma, target=ONE))) for gamma in (0, 1, 2, 5)]


def generalized() -> list[Curve]:
    values = {"q near 0": 1e-6, "q=0.3": 0.3, "q=0.7": 0.7, "q=1": 1.0}
    return [(name, over_probability(losses.GeneralizedCrossentropy(q, target=ONE))) for name, q in values.items()]


def asymmetric() -> list[Curve]:
    kinds = {
        "label 1": (losses.Asymmetric(target=SEVERAL), 1.0),
        "label 0": (losses.Asymmetric(target=SEVERAL), 0.0),
        "label 0, binary cross-entropy": (losses.BinaryCrossentropy(target=SEVERAL), 0.0),
    }
    return [(name, over_probability(loss, label)) for name, (loss, label) in kinds.items()]


def arcface() -> list[Curve]:
    """The loss of the true class at an angle, where the other class is at a right angle."""
    logits = np.stack([np.zeros_like(ANGLES), SCALE * np.cos(ANGLES)], 1)
    labels = np.eye(2)[[1] * len(ANGLES)]
    margins = (0.0, 0.3, 0.5)
    return [
        (f"margin={margin}", row_losses(losses.ArcFace(margin, SCALE, target=ONE), labels, logits))
        for margin in margins
    ]


def huber() -> list[Curve]:
    errors = np.linspace(-4, 4, 200)[:, None]
    return [
        (f"delta={delta:g}", row_losses(losses.Huber(delta, target=NUMBERS), np.zeros_like(errors), errors))
        for delta in (0.5, 1, 2)
    ]


def tweedie() -> list[Curve]:
    """The loss at a prediction for a label of 1, less its lowest value."""
    logits = np.log(np.linspace(0.1, 4, 200))[:, None]
    curves = []
    for power in (1.0, 1.5, 1.9):
        values = row_losses(losses.Tweedie(power, target=COUNTS), np.ones_like(logits), logits)
        curves.append((f"power={power:g}", values - values.min()))
    return curves


PANELS = (
    ("Focal", "probability of the true class", PROBABILITIES, focal),
    ("GeneralizedCrossentropy", "probability of the true class", PROBABILITIES, generalized),
    ("Asymmetric", "probability of the label", PROBABILITIES, asymmetric),
    ("ArcFace, scale 10", "angle to the true class, degrees", np.degrees(ANGLES), arcface),
    ("Huber", "error, standard deviations", np.linspace(-4, 4, 200), huber),
    ("Tweedie, label 1", "prediction", np.linspace(0.1, 4, 200), tweedie),
)


def main() -> None:
    figure, axes = canvas(1, 6.4, width=10.5)
    axes[0, 0].remove()
    grid = figure.subplots(2, 3)
    for axis, (title, label, places, curves) in zip(grid.flat, PANELS, strict=True):
        for number, (name, values) in enumerate(curves()):
            axis.plot(places, values, color=COLOURS[number], label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(label, fontsize=8)
        axis.legend(fontsize=7, frameon=False)
        if title not in ("ArcFace, scale 10", "Huber"):
            axis.set_ylim(0, 4 if title != "Tweedie, label 1" else 1.5)
    figure.supylabel("loss")
    (Path(__file__).parents[1] / "docs" / "images" / "losses.png").write_bytes(png(figure))


if __name__ == "__main__":
    main()
