"""Measure how many wrong labels `kcomp check` finds, if 5 % of the labels of a data set are changed at random.

    KERAS_BACKEND=jax python scripts/check_wrong_labels.py data/sign-digits
    KERAS_BACKEND=jax python scripts/check_wrong_labels.py data/sign-digits --seeds 0 1 2 --write noisy
    kcomp train sign_digits --backend torch --fold all --set csv=noisy/seed0/train.csv
    KERAS_BACKEND=torch python scripts/check_wrong_labels.py data/sign-digits --runs runs/sign_digits/*

The folder has train.csv with a column for each class, and images/. Without --runs, the probe on frozen features is
measured, on the unchanged labels too. With --runs, the out-of-fold predictions of runs that were trained on the changed
labels are: one folder of runs for each training. --write only writes a folder with changed labels for each seed.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp import data, metrics
from kcomp.check.data_set import DataSet
from kcomp.check.wrong_labels.part import check_wrong_labels
from kcomp.check.wrong_labels.predictions import out_of_fold
from kcomp.data.tables import Table
from kcomp.ensembles.members import read_labels
from kcomp.measurements.measure import measure
from kcomp.probe.features import frozen_features
from kcomp.runs.collect import collect_runs

SHARE = 0.05


def read_table(folder: Path) -> Table:
    columns = [name for name in pd.read_csv(folder / "train.csv", nrows=0) if name != "image_id"]
    return data.read_csv(folder / "train.csv", images="images", one_hot=columns)


def change_labels(table: Table, seed: int) -> Table:
    """Return a table with wrong classes in 5 % of the rows."""
    random = np.random.default_rng(seed)
    wrong = random.choice(len(table), round(SHARE * len(table)), replace=False)
    classes, count = table.labels.argmax(1), len(table.columns)
    classes[wrong] = (classes[wrong] + random.integers(1, count, len(wrong))) % count
    return with_labels(table, np.eye(count)[classes])


def with_labels(table: Table, labels: np.ndarray) -> Table:
    frame = pd.DataFrame(labels, table.frame.index, list(table.columns))
    return Table(table.frame.assign(**frame), table.target)


def write_folder(folder: Path, table: Table, images: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").symlink_to(images.resolve())
    table.frame[["image_id", *table.columns]].to_csv(folder / "train.csv", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/sign-digits"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+")
    options = parser.parse_args()
    clean = read_table(options.folder)
    noisy = [(f"seed {seed}", change_labels(clean, seed)) for seed in options.seeds]
    if options.write:
        for seed, (_, table) in zip(options.seeds, noisy, strict=True):
            write_folder(options.write / f"seed{seed}", table, options.folder / "images")
        return
    facts, metric = measure(clean), metrics.get(clean.required_target.default_metric)
    fixed = {"facts": facts, "metric": metric}
    if options.runs:
        for folder in options.runs:
            runs = collect_runs([folder])
            labels = read_labels(runs).loc[clean.ids, list(clean.columns)].to_numpy()
            table = with_labels(clean, labels)
            report(str(folder), clean, DataSet(table=table, predictions=out_of_fold(runs, table), **fixed))
        return
    features = frozen_features(None, [clean]).rows[0]
    for name, table in [("unchanged labels", clean), *noisy]:
        report(name, clean, DataSet(table=table, features=features, **fixed))


def report(name: str, clean: Table, data_set: DataSet) -> None:
    """Print how many of the changed labels are found, and how many of those found are changed."""
    table = data_set.table
    part = check_wrong_labels(data_set)
    suspects = {suspect["image_id"] for suspect in part.numbers["suspects"]}
    differing = (table.labels != clean.labels).any(1)
    changed = {image_id for image_id, differs in zip(table.ids, differing, strict=True) if differs}
    right = len(suspects & changed)
    severity = [finding.severity for finding in part.findings if finding.kind == "wrong-label"]
    precision, recall = right / max(len(suspects), 1), right / max(len(changed), 1)
    print(
        f"{name}: {len(changed)} wrong labels, {len(suspects)} suspects, precision {precision:.3f}, "
        f"recall {recall:.3f}, estimated share {part.numbers['wrong_share']:.4f}, "
        f"findings {severity}",
        flush=True,
    )


if __name__ == "__main__":
    main()
