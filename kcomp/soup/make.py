"""Make a soup: one network whose weights are the average of several runs' weights (Wortsman et al. 2022)."""

import hashlib
import time
from collections.abc import Sequence

import keras
import numpy as np

from kcomp.data.items import per_item
from kcomp.experiment.build import build_experiment
from kcomp.metrics.scores import Scorer
from kcomp.models import set_trainable
from kcomp.models.transfer import take_weights
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.runs.folder import Run, member_of, start
from kcomp.runs.locking import locked
from kcomp.runs.probabilities import write_probabilities
from kcomp.soup.choose import Candidate, SoupChoice, choose_soup
from kcomp.system.files import write_json
from kcomp.training.averages.batch_norm import estimate, normalisations, statistics_of
from kcomp.training.manifest import build_manifest
from kcomp.training.origin import find_origin
from kcomp.training.run_files import save_weights

ALIKE = 0.02  # largest mean difference of predictions / Target.unit; that of two backends is 1e-5, bfloat16's 1e-3


class SoupBuilder:
    """Averages the weights of runs, and predicts the held-out rows with the averages.

    Raises:
        ValueError: If the weights of the runs have different names or shapes, or if a run predicts differently in the
            network of the first run's recipe than in its own.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: (*identity(run), str(run.folder)))
        check_runs(self.runs)
        base = self.runs[0]
        manifest, self.loaded = base.manifest, base.recipe()
        self.recipe = self.loaded.recipe
        self.table = self.recipe.table(self.recipe.config)
        self.seed, self.fold = min(run.manifest["seed"] for run in self.runs), manifest["fold"]
        if self.table.fingerprint() != manifest["table"]:
            raise ValueError(f"{base.folder} was trained on another table than its recipe reads now")
        built = build_experiment(self.recipe, self.table, fold=self.fold, seed=self.seed, load_pretrained=False)
        self.network, self.training, self.validation = built.network, built.training, built.validation
        self.target = built.target
        held_out = self.validation.table
        self.ids, self.labels = per_item(held_out, held_out.labels, self.target)
        last = built.stages[-1]  # statistics are estimated as in the last stage
        set_trainable(self.network, last.train, train_batch_norm=last.train_batch_norm)
        self.forward = compile_forward(self.network)
        self.weights = [self.weights_of(run) for run in self.runs]
        self.norms = self.trained_normalisations()
        self.evaluated: dict[tuple[int, ...], list[Candidate]] = {}

    def weights_of(self, run: Run) -> list[np.ndarray]:
        order = self.target.head_order(run.target)
        if not take_weights(self.network, run / "best.weights.h5", order=order):
            raise ValueError(f"the head of {run.folder} has another number of outputs than {self.runs[0].folder}'s")
        return self.network.get_weights()

    def trained_normalisations(self) -> list[keras.layers.BatchNormalization]:
        """Return the batch normalisation layers whose statistics differ between the runs, so that they were trained."""
        place = {id(variable): number for number, variable in enumerate(self.network.weights)}

        def differs(layer: keras.layers.BatchNormalization) -> bool:
            numbers = [place[id(variable)] for variable in statistics_of([layer])]
            return any(
                (weights[number] != self.weights[0][number]).any() for weights in self.weights for number in numbers
            )

        return [layer for layer in normalisations(self.network) if differs(layer)]

    def evaluate(self, members: tuple[int, ...]) -> list[Candidate]:
        """Average the weights of the runs at these positions, and predict the held-out rows.

        The first candidate has averaged batch normalisation statistics. If the runs trained batch normalisation, a
        second candidate has recomputed statistics.
        """
        if members not in self.evaluated:
            self.network.set_weights(average([self.weights[number] for number in members]))
            candidates = [Candidate(members, self.predict_held_out())]
            if len(members) > 1 and self.norms:
                statistics = estimate(self.network, self.norms, self.training, layers=self.training.layers)
                candidates.append(Candidate(members, self.predict_held_out(), statistics))
            elif len(members) == 1:
                self.check_alike(self.runs[members[0]], candidates[0].probabilities)
            self.evaluated[members] = candidates
        return self.evaluated[members]

    def predict_held_out(self) -> np.ndarray:
        predictions = predict_rows(self.forward, self.validation, self.target)
        return per_item(self.validation.table, predictions, self.target)[1]

    def check_alike(self, run: Run, probabilities: np.ndarray) -> None:
        if len(run.weights) > 1:  # its predictions are the mean of several snapshots
            return
        own = run.probabilities("oof").loc[self.ids, list(self.target.prediction_columns)].to_numpy()
        difference = float((np.abs(own - probabilities) / self.target.unit).mean())
        if difference > ALIKE:
            raise ValueError(
                f"{run.folder} predicts otherwise under the recipe of {self.runs[0].folder} than it did under its own "
                f"(by {difference:.3f} on average, at most {ALIKE} is rounding): runs of one soup must see images alike"
            )

    def set_weights(self, chosen: Candidate) -> None:
        """Set the network's weights and batch normalisation statistics to those of a candidate."""
        self.network.set_weights(average([self.weights[number] for number in chosen.members]))
        for variable, value in zip(statistics_of(self.norms), chosen.statistics or (), strict=False):
            variable.assign(value)


def make_soup(runs: Sequence[Run], output: Run, *, method: str, scorer: Scorer) -> tuple[SoupChoice, list[Run]]:
    """Average the weights of runs, and write the average as a new run if it scores better than the best of the runs.

    Args:
        runs: At least two complete runs with the same table, fold, precision and target.
        output: The run folder to write.
        method: "uniform" averages all runs. "greedy" adds runs one by one if they do not worsen the score.
        scorer: Computes the metric.

    Returns:
        Two things: the choice, and the sorted runs, to whose positions the choice refers.

    Raises:
        RuntimeError: If the average does not score better. Nothing is written.
    """
    started = time.monotonic()
    with locked(output):
        if (output / "manifest.json").is_file() and (output.complete or not output.manifest.get("soup")):
            raise ValueError(f"{output.folder} holds a run already; choose another folder with -o, or remove that one")
        builder = SoupBuilder(runs)
        choice = choose_soup(builder.evaluate, len(builder.runs), builder.labels, method=method, scorer=scorer)
        if not choice.gains:
            raise RuntimeError(refusal(choice, builder, method))
        write_soup(builder, output, choice, method=method, seconds=time.monotonic() - started)
    return choice, builder.runs


def refusal(choice: SoupChoice, builder: SoupBuilder, method: str) -> str:
    name, run = choice.scorer.metric.name, builder.runs[choice.best.members[0]]
    best = f"{name} {choice.best_score:.4f} of the best ingredient, {run.folder}"
    if len(choice.soup.members) == 1:
        return f"the soup is refused, nothing was written: no other run could be added without a loss to {best}"
    return (
        f"the {method} soup of {len(choice.soup.members)} runs is refused, nothing was written: {name} "
        f"{choice.score:.4f} out of fold is no gain over {best}"
    )


def write_soup(builder: SoupBuilder, output: Run, choice: SoupChoice, *, method: str, seconds: float) -> None:
    """Write the averaged weights as a run folder. The last file is result.json, which marks the run as complete."""
    builder.set_weights(choice.soup)
    manifest = build_manifest(builder.loaded, builder.table, seed=builder.seed, fold=builder.fold)
    ingredients = [
        {"folder": str(run.folder), "kept": number in choice.soup.members, **find_origin(run.folder).record}
        for number, run in enumerate(builder.runs)
    ]
    settings = {"method": method, "metric": choice.scorer.metric.name}
    manifest["soup"] = settings | {"key": soup_key(builder.runs, **settings), "ingredients": ingredients}
    (output / "manifest.json").unlink(missing_ok=True)  # from an interrupted write of a soup
    start(output, builder.loaded, manifest, 0)
    save_weights(output, builder.network)
    write_probabilities(output / "oof.csv", builder.ids, builder.target.prediction_columns, choice.soup.probabilities)
    write_probabilities(output / "labels.csv", builder.ids, builder.table.columns, builder.labels)
    record = settings | {
        "seconds": round(seconds, 1),
        "members": len(choice.soup.members),
        "of": len(builder.runs),
        "statistics_estimated": choice.soup.statistics is not None,
        "best_ingredient": choice.best_score,
        "chosen_on_these_rows": True,
        "unseen": {"soup": choice.unseen_score, "best_ingredient": choice.unseen_best_score},
    }
    write_json(
        output / "result.json",
        {
            "scores": choice.scorer.all(builder.labels, choice.soup.probabilities),
            "metric": choice.scorer.metric.name,
            "keep": None,
            "epoch": None,
            "epochs": None,
            "rows": len(builder.ids),
            "seconds": round(seconds + sum(run.result["seconds"] for run in builder.runs), 1),
            "soup": record,
        },
    )


def average(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Average the weights of several networks, array by array. Integer arrays are taken from the first network."""
    if len(weights) == 1:
        return list(weights[0])
    floats = [np.issubdtype(array.dtype, np.floating) for array in weights[0]]
    return [
        np.mean(arrays, 0, np.float64).astype(arrays[0].dtype) if is_float else arrays[0]
        for is_float, arrays in zip(floats, zip(*weights, strict=True), strict=True)
    ]


def identity(run: Run) -> tuple[str, str, str, int]:
    """Return the recipe, fingerprint, backend and seed of a run.

    Runs that differ only in their fold have the same identity.
    """
    manifest = run.manifest
    return manifest["recipe"], manifest["fingerprint"], member_of(manifest), manifest["seed"]


def soup_key(runs: Sequence[Run], *, method: str, metric: str) -> str:
    """Return 8 hexadecimal digits that identify a soup of these runs. Soups in other folds have the same digits."""
    text = repr([*map(identity, runs), method, metric])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def check_runs(runs: Sequence[Run]) -> None:
    """Raise ValueError unless there are at least two runs, with the same table, fold, precision and target."""
    if len(runs) < 2:
        raise ValueError(f"a soup takes two runs or more; received {len(runs)}")
    first = runs[0].manifest
    for run in runs[1:]:
        manifest = run.manifest
        for name, hint in (("table", "the same table"), ("fold", "one fold"), ("precision", "one precision")):
            if manifest.get(name) != first.get(name):
                raise ValueError(
                    f"runs of one soup must be of {hint}; {runs[0].folder} has {name} {first.get(name)!r}, "
                    f"{run.folder} {manifest.get(name)!r}"
                )
        if runs[0].target.head_order(run.target) is None:
            raise ValueError(f"runs of one soup must have the same target; {run.folder} and {runs[0].folder} differ")
