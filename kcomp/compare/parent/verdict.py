"""State whether the backends agree, which is faster, and whether the scores differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.compare.parent.score_text import MOST_DECIMALS, decimals, metric_words, plain
from kcomp.metrics.significance import Interval

NAMES = {"jax": "JAX", "torch": "PyTorch"}
LEVEL = 0.05  # significance level of the test against the noise of seeds


@dataclass(frozen=True)
class Verdict:
    """The conclusion at the top of the report.

    Attributes:
        agree: Whether arithmetic, optimizer, batches and first updates agree.
        faster: The name of the backend that trains faster. None if the speeds of the measured rounds overlap.
        speedup: The training speed of the faster backend divided by that of the slower backend.
        text: The conclusion in words.
    """

    agree: bool
    faster: str | None
    speedup: float
    text: str


def display_name(label: str) -> str:
    """Return a backend's name for texts: "JAX again" for "jax again"."""
    backend, _, suffix = label.partition(" ")
    return f"{NAMES.get(backend, backend)} {suffix}".strip()


def give_verdict(report: Mapping[str, Any]) -> Verdict:
    causes = disagreements(report)
    faster, speedup = compare_speed(report["cost"])
    first = f"{agreement(report, causes)}; {speed_words(faster, speedup)}."
    return Verdict(not causes, faster, speedup, f"{first} {score_words(report['outcome'])}")


def disagreements(report: Mapping[str, Any]) -> list[str]:
    """Return the reasons why the backends do not agree, as texts. Empty if the backends agree. A wrong layer comes
    first.
    """
    layers = [row["layer"] for row in report["arithmetic"]["findings"]]
    trajectory = report["trajectory"]
    causes = []
    if layers:
        more = f" (and {len(layers) - 1} more)" if len(layers) > 1 else ""
        causes.append(f"{layers[0]}{more} computes something else")
    if not trajectory["same_batches"]:
        causes.append("they train on different batches")
    if not trajectory["optimizer"]["alike"]:
        causes.append("their optimizers differ")
    if not trajectory["alike"] and not causes:
        causes.append("their first updates differ")
    return causes


def agreement(report: Mapping[str, Any], causes: Sequence[str]) -> str:
    one_backend = len({label.partition(" ")[0] for label in report["labels"]}) == 1
    subject = f"The two runs of {display_name(report['labels'][0])}" if one_backend else "The two backends"
    if causes:
        return f"{subject} disagree: {' and '.join(causes)}"
    if report["trajectory"]["identical"]:
        return f"{subject} are identical to the last bit"
    return f"{subject} agree"


def compare_speed(costs: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, float]:
    """Return two things: the name of the backend that trains faster, and the ratio of the training speeds.

    The name is None if the speeds of the measured rounds overlap.
    """
    speeds = {label: row["train"] or [float("nan")] for label, row in costs.items()}
    slow, fast = sorted(speeds, key=lambda label: float(np.median(speeds[label])))[:2]
    ratio = float(np.median(speeds[fast]) / np.median(speeds[slow]))
    return (fast if min(speeds[fast]) > max(speeds[slow]) else None), ratio


def speed_words(faster: str | None, speedup: float) -> str:
    if faster is None or speedup < 1.05:
        return "both train about equally fast here"
    times = "twice" if 1.9 <= speedup < 2.1 else f"{speedup:.1f} times"
    return f"{display_name(faster)} trains {times} as fast here"


def score_words(outcome: Mapping[str, Any]) -> str:
    """Return a text with the mean scores by the recipe's metric, and whether they differ by more than noise."""
    if "failed" in outcome:
        return "There are no scores, because a training failed."
    if outcome["identical"]:
        return "They predict the same for every row."
    name = outcome["metrics"][0]
    means, places = mean_scores(outcome, name), mean_decimals(outcome, name)
    if any(map(math.isnan, means.values())):
        return f"The {metric_words(name)} is undefined on these rows."
    texts = [plain(mean, places) for mean in means.values()]
    values = ", ".join(f"{display_name(label)} {text}" for label, text in zip(means, texts, strict=True))
    chance = "the difference may be chance"
    if exceeds_noise(outcome, name):
        chance = "the difference is more than chance explains"
    elif len(set(texts)) == 1:
        chance = f"they are equal to {places} decimals"
    words = metric_words(name)
    return f"{words[0].upper()}{words[1:]} ({better(outcome, name)}): {values}; {chance}."


def better(outcome: Mapping[str, Any], name: str) -> str:
    return f"{'higher' if outcome['higher_is_better'][name] else 'lower'} is better"


def mean_scores(outcome: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return {name of the backend: mean score over seeds and folds}."""
    return {
        label: float(np.mean([row[name] for row in outcome["scores"] if row["label"] == label]))
        for label in outcome["labels"][:2]
    }


def score_decimals(outcome: Mapping[str, Any], name: str) -> int:
    """Return how many decimals to write, at least 4, so that the larger mean score has three digits."""
    sizes = [abs(mean) for mean in mean_scores(outcome, name).values()]
    return decimals([max(sizes)], digits=3)


def mean_decimals(outcome: Mapping[str, Any], name: str) -> int:
    """Return how many decimals to write for mean scores.

    If the difference between the backends is more than noise, there are enough decimals to show it.
    """
    places = score_decimals(outcome, name)
    if not exceeds_noise(outcome, name):
        return places
    means = mean_scores(outcome, name).values()
    return max(places, min(decimals([max(means) - min(means)]), MOST_DECIMALS))


def exceeds_noise(outcome: Mapping[str, Any], name: str) -> bool:
    """Return whether the scores of two backends differ by more than noise.

    With several seeds, noise is the variation between seeds. With one seed, it is the variation over held-out rows.
    """
    tested = outcome["noise"][name]
    if tested is None:
        return Interval(**outcome["frameworks"][name]).excludes_zero
    return bool(tested["p"] < LEVEL)
