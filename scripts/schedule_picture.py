"""Draw the rates of the schedules, docs/images/schedules.png.

KERAS_BACKEND=torch python scripts/schedule_picture.py
"""

from pathlib import Path

import keras
import numpy as np

from kcomp import schedules
from kcomp.report.canvas import COLOURS, canvas, png

EPOCHS, STEPS = 12, 50
SCORES = (0.70, 0.80, 0.84, 0.83, 0.84, 0.88, 0.90, 0.89, 0.90, 0.905, 0.90, 0.90)  # for Plateau: an example
SCHEDULES = {
    "WarmupCosine(1, 12, warmup=1)": schedules.WarmupCosine(1, EPOCHS, warmup=1),
    "CosineRestarts(1, 12, cycles=3)": schedules.CosineRestarts(1, EPOCHS, cycles=3),
    "OneCycle(1, 12)": schedules.OneCycle(1, EPOCHS),
    "Cyclic(0.1, 1, rise=2)": schedules.Cyclic(0.1, 1, rise=2),
    "Cyclic(0.1, 1, rise=2, per_cycle=0.5)": schedules.Cyclic(0.1, 1, rise=2, per_cycle=0.5),
    "Constant(1, warmup=1)": schedules.Constant(1, warmup=1),
    "Step(1, every=4, factor=0.3)": schedules.Step(1, every=4, factor=0.3),
    "Exponential(1, 12, final=0.05)": schedules.Exponential(1, EPOCHS, final=0.05),
    "Polynomial(1, 12)": schedules.Polynomial(1, EPOCHS),
    "Polynomial(1, 12, power=2)": schedules.Polynomial(1, EPOCHS, power=2),
    "Tail(WarmupCosine(1, 12), 7, 0.5, low=0.1, every=1)": schedules.Tail(
        schedules.WarmupCosine(1, EPOCHS), 7, 0.5, low=0.1, every=1
    ),
    "Plateau(1, patience=2, factor=0.4)": schedules.Plateau(1, patience=2, factor=0.4),
}


def rates_of(schedule: schedules.EpochSchedule) -> np.ndarray:
    """Return the rate at each step. The scores of the epochs are `SCORES`, which only Plateau uses."""
    schedule.bind(STEPS)
    if isinstance(schedule, schedules.Plateau):
        schedule.attach(keras.optimizers.SGD(schedule))
    rates = []
    for step in range(EPOCHS * STEPS):
        if isinstance(schedule, schedules.Plateau) and step and step % STEPS == 0:
            schedule.update(SCORES[: step // STEPS], lambda score, best: score > best)
        rates.append(float(schedule(np.int32(step))))
    return np.array(rates)


def main() -> None:
    figure, axes = canvas(1, 7.2, width=10.5)
    axes[0, 0].remove()
    grid = figure.subplots(4, 3, sharex=True, sharey=True)
    for axis, (name, schedule) in zip(grid.flat, SCHEDULES.items(), strict=True):
        axis.plot(np.arange(EPOCHS * STEPS) / STEPS, rates_of(schedule), color=COLOURS[0])
        axis.set_title(name, fontsize=8, family="monospace")
        axis.set_ylim(0, 1.05)
        axis.set_xticks(range(0, EPOCHS + 1, 4))
    figure.supxlabel("epoch")
    figure.supylabel("learning rate, as a share of the highest")
    (Path(__file__).parents[1] / "docs" / "images" / "schedules.png").write_bytes(png(figure))


if __name__ == "__main__":
    main()
