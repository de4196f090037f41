"""Score the decisions of runs by nested cross-validation with any metric.

    python scripts/score_decisions.py runs/cards/<fingerprint> --metric mae

RUNS are the folds of one recipe, seed and backend. The thresholds or cut points of each fold are fitted on the other
folds, with the metric of the runs.
"""

import argparse
from pathlib import Path

import numpy as np

from kcomp import metrics
from kcomp.metrics.decisions import fit_decisions
from kcomp.runs.folder import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--metric", default="mae")
    options = parser.parse_args()
    runs = [Run(path.parent) for path in sorted(options.folder.glob("*/result.json"))]
    target, fitted_for = runs[0].target, metrics.get(runs[0].result["metric"])
    labels, predictions = ([run.probabilities(name).to_numpy() for run in runs] for name in ("labels", "oof"))
    decided = []
    for fold, values in enumerate(predictions):
        others = [number for number in range(len(runs)) if number != fold]
        rows = [np.concatenate([arrays[number] for number in others]) for arrays in (labels, predictions)]
        decisions = fit_decisions(*rows, fitted_for, target)
        decided.append(decisions.apply(values) if decisions else target.decide(values))
    true, chosen = np.concatenate(labels).squeeze(), np.concatenate(decided)
    score = metrics.get(options.metric).function(true[:, None], chosen[:, None].astype(float))
    print(
        f"{options.metric} {score:.4f}, share of right decisions {np.mean(true == chosen):.4f} (n = {len(true)} rows)"
    )


if __name__ == "__main__":
    main()
