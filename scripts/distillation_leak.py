"""Measure how much too good the score of a student is, whose labels of training rows come from out-of-fold predictions.

python scripts/distillation_leak.py

The teachers and the student are kernel ridge regressions on 900 of scikit-learn's digits, 5 folds, 5 seeds. A share of
the labels is drawn at random. Prints the mean accuracy on the held-out rows, with their (partly random) labels: of the
teachers, of students of out-of-fold labels, and of students of labels by the teacher that held out the student's fold.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge

ROWS, FOLDS, SEEDS = 900, 5, 5


def fit_predict(images: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the predictions for `others` of a regression that is fitted to images and labels."""
    predictions: np.ndarray = KernelRidge(kernel="rbf", gamma=0.5, alpha=0.1).fit(images, labels).predict(others)
    return predictions


def accuracies(seed: int, share: float) -> list[float]:
    """Return the accuracy of the teachers and of both kinds of students. `share` of the labels is random."""
    draws = np.random.default_rng(seed)
    images, classes = load_digits(return_X_y=True)
    rows = draws.permutation(len(images))[:ROWS]
    images, classes = images[rows] / 16, classes[rows].copy()
    changed = draws.random(ROWS) < share
    classes[changed] = draws.integers(0, 10, changed.sum())
    labels, folds = np.eye(10)[classes], draws.permutation(ROWS) % FOLDS
    teachers, students, strict = np.zeros((3, ROWS, 10))
    for fold in range(FOLDS):
        training = folds != fold
        teachers[~training] = fit_predict(images[training], labels[training], images[~training])
    for fold in range(FOLDS):
        training = folds != fold
        students[~training] = fit_predict(images[training], teachers[training], images[~training])
        own = fit_predict(images[training], labels[training], images[training])
        strict[~training] = fit_predict(images[training], own, images[~training])
    return [float((values.argmax(1) == classes).mean()) for values in (teachers, students, strict)]


def main() -> None:
    print("random labels, teachers, students, students of their fold's teacher")
    for share in (1.0, 0.2, 0.05, 0.0):
        values = np.array([accuracies(seed, share) for seed in range(SEEDS)])
        cells = [
            f"{mean:.3f} +- {spread:.3f}" for mean, spread in zip(values.mean(0), values.std(0, ddof=1), strict=True)
        ]
        print(f"{share:.0%}", *cells, sep=", ")


if __name__ == "__main__":
    main()
