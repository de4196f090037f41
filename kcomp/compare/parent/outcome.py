"""Scores of the same folds and seeds on each backend, their paired difference, and the noise of the seed; no Keras."""

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kcomp.metrics.significance import Interval, mcnemar, paired_interval, row_values
from kcomp.runs.folder import Run, check_own
from kcomp.system.processes import run_kcomp

Key = tuple[str, int, int]  # label, seed, fold
METRICS = ("accuracy", "log_loss")


def trained_runs(
    labels: Mapping[str, str],
    recipe: Path,
    setup: Mapping[str, Any],
    folder: Path,
    jobs: Sequence[tuple[int, int]],
    arguments: Sequence[str],
) -> dict[Key, Run]:
    """The complete run of each label, seed and fold; what is not in ./runs nor in `folder` is trained into it.

    labels: backend by label. A backend that is there a second time gets runs of its own. RuntimeError with the command
    that failed; what was trained before it stays.
    """
    found: dict[Key, Run] = {}
    for label, backend in labels.items():
        for seed, fold in jobs:
            name = f"{backend}-seed{seed}-fold{fold}"
            usual = Run(Path("runs") / setup["name"] / setup["fingerprint"] / name)
            own = Run(folder / "runs" / (name if label == backend else f"{label.replace(' ', '-')}-{name}"))
            wanted = {name: setup[name] for name in ("fingerprint", "table")}
            wanted |= {"pseudo": setup.get("pseudo", {}).get(str(fold)), "backend": backend, "seed": seed, "fold": fold}
            run = usual if label == backend and complete(usual, wanted) else own
            if not complete(run, wanted):
                command = ["train", str(recipe), "--seed", str(seed), "--fold", str(fold), "-o", str(run.folder)]
                code = run_kcomp([*command, *arguments], backend)
                if code:
                    line = shlex.join(["kcomp", *command, *arguments, "--backend", backend])
                    raise RuntimeError(f"training on {label} failed with exit code {code}: {line}")
            found[label, seed, fold] = run
    return found


def complete(run: Run, wanted: Mapping[str, Any]) -> bool:
    """Whether the run that is wanted is there and complete; `kcomp train` says what is wrong with another one."""
    try:
        check_own(run, wanted)
    except ValueError:
        return False
    return run.complete


def outcome(runs: Mapping[Key, Run]) -> dict[str, Any]:
    """Scores, the paired difference of the first two labels, that of seeds on one label, and a sentence."""
    labels = list(dict.fromkeys(label for label, _, _ in runs))
    seeds = list(dict.fromkeys(seed for _, seed, _ in runs))
    folds = list(dict.fromkeys(fold for _, _, fold in runs))
    values = {
        (label, seed): row_frame([runs[label, seed, fold] for fold in folds]) for label in labels for seed in seeds
    }
    check_rows(values)
    scores = [
        {"label": label, "seed": seed, "fold": fold, "folder": str(run.folder), **run.result["scores"]}
        for (label, seed, fold), run in runs.items()
    ]
    found = {"labels": labels, "seeds": seeds, "folds": folds, "scores": scores}
    found["rows"] = len(values[labels[0], seeds[0]])
    found["frameworks"] = {name: framework_difference(values, labels, seeds, name) for name in METRICS}
    found["mcnemar"] = [mcnemar_row(values, labels, seed) for seed in seeds]
    found["seeds_apart"] = seed_differences(values, labels, seeds)
    found["noise"] = {name: noise(values, labels, seeds, name) for name in METRICS}
    found["identical"] = all(identical(values, labels, seed) for seed in seeds)
    return found | {"sentence": sentence(found)}


def row_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """accuracy and log_loss of each held-out row, by image id."""
    frames = []
    for run in runs:
        probabilities, labels = run.probabilities("oof"), run.probabilities("labels")
        truth = labels.loc[probabilities.index, probabilities.columns].to_numpy()
        frames.append(pd.DataFrame(row_values(truth, probabilities.to_numpy()), index=probabilities.index))
    return pd.concat(frames)


def check_rows(values: Mapping[tuple[str, int], pd.DataFrame]) -> None:
    first = next(iter(values.values()))
    for (label, seed), frame in values.items():
        if set(frame.index) != set(first.index):
            raise ValueError(f"the runs of {label}, seed {seed}, hold other rows than the first; train them anew")


def column(values: Mapping[tuple[str, int], pd.DataFrame], label: str, seed: int, name: str) -> np.ndarray:
    order = next(iter(values.values())).index
    return values[label, seed].loc[order, name].to_numpy(np.float64)


def framework_difference(values: Any, labels: Sequence[str], seeds: Sequence[int], name: str) -> dict[str, Any]:
    """The first label's minus the second's, each row's value a mean over the seeds."""
    one, other = (np.mean([column(values, label, seed, name) for seed in seeds], axis=0) for label in labels[:2])
    return asdict(paired_interval(one, other))


def mcnemar_row(values: Any, labels: Sequence[str], seed: int) -> dict[str, Any]:
    first, second, p = mcnemar(*(column(values, label, seed, "accuracy") > 0.5 for label in labels[:2]))
    return {"seed": seed, "only_first": first, "only_second": second, "p": p}


def seed_differences(values: Any, labels: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The difference between every two seeds on one label, with its interval over rows."""
    return [
        {"label": label, "seeds": [one, other], "metric": name}
        | asdict(paired_interval(column(values, label, one, name), column(values, label, other, name)))
        for label, (one, other), name in itertools.product(labels, itertools.combinations(seeds, 2), METRICS)
    ]


def noise(values: Any, labels: Sequence[str], seeds: Sequence[int], name: str) -> dict[str, Any] | None:
    """Student's t test of the first two labels' scores, paired by seed, and the pooled spread; None for one seed."""
    if len(seeds) < 2:
        return None
    samples = [[float(column(values, label, seed, name).mean()) for seed in seeds] for label in labels[:2]]
    spread = math.sqrt(float(np.mean([np.var(sample, ddof=1) for sample in samples])))
    difference = float(np.mean(samples[0]) - np.mean(samples[1]))
    certain = 1.0 if difference == 0 else 0.0  # where no seed differs from another
    paired = np.subtract(samples[0], samples[1])  # a seed has one start, one order of batches and one set of draws
    p = float(stats.ttest_1samp(paired, 0.0).pvalue) if np.ptp(paired) else certain
    return {"difference": difference, "spread": spread, "p": p, "seeds": len(seeds)}


def identical(values: Any, labels: Sequence[str], seed: int) -> bool:
    one, other = (column(values, label, seed, "log_loss") for label in labels[:2])
    return bool((one == other).all())


def sentence(found: Mapping[str, Any]) -> str:
    one, other = found["labels"][:2]
    counts = {"seed": len(found["seeds"]), "fold": len(found["folds"]), "row": found["rows"]}
    size = ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())
    if found["identical"]:
        return f"{one} and {other} predict the same for every row, to the last digit (n = {size})."
    parts = []
    for name in METRICS:
        tested, interval = found["noise"][name], found["frameworks"][name]
        word = name.replace("_", " ")
        if tested is None:
            sure = "does not contain 0" if Interval(**interval).excludes_zero else "contains 0"
            bounds = f"95 % interval over rows {interval['low']:+.4f} to {interval['high']:+.4f}"
            parts.append(f"in {word} by {interval['mean']:+.4f} ({bounds}, which {sure})")
            continue
        more = "more than seed noise" if tested["p"] < 0.05 else "not more than seed noise"
        noise = f"standard deviation between seeds {tested['spread']:.4f}, p = {tested['p']:.2g}"
        parts.append(f"in {word} by {tested['difference']:+.4f}, which is {more} ({noise})")
    text = f"{one} and {other} differ {' and '.join(parts)}; n = {size}."
    if len(found["seeds"]) < 2:
        text += " With one seed there is no seed noise to compare with: this is no claim about the frameworks."
    return text
