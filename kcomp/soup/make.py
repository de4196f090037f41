"""A model soup: one network whose weights are the average of several runs' weights (Wortsman et al. 2022)."""

import hashlib
import time
from collections.abc import Sequence

import keras
import numpy as np

from kcomp.data.splits import split
from kcomp.engine.precision import use_precision
from kcomp.metrics import scores
from kcomp.models import pretrained, set_trainable
from kcomp.models.transfer import take_weights
from kcomp.prediction.forward import compile_forward, predict_probabilities
from kcomp.runs.folder import Run, locked, member_of, start
from kcomp.runs.probabilities import write_probabilities
from kcomp.soup.choose import Candidate, Judgement, judge
from kcomp.system.files import write_json
from kcomp.training.averages.batch_norm import estimate, normalisations, statistics_of
from kcomp.training.callbacks import save_weights
from kcomp.training.manifest import manifest
from kcomp.training.origin import find_origin

ALIKE = 0.02  # mean difference of probabilities; backends differ by 1e-5, bfloat16 by 1e-3


class Pot:
    """The runs to average, in one order whatever the order given, and the network that takes their weights.

    The first run's recipe makes the network and the batches. ValueError where another run's weights have other names
    or shapes, or where that recipe shows it other images than its own did.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: (*identity(run), str(run.folder)))
        check(self.runs)
        base = self.runs[0]
        kept, self.loaded = base.manifest, base.recipe()
        self.recipe = recipe = self.loaded.recipe
        self.table = recipe.table(recipe.config)
        self.seed, self.fold = min(run.manifest["seed"] for run in self.runs), kept["fold"]
        if self.table.fingerprint() != kept["table"]:
            raise ValueError(f"{base.folder} was trained on another table than its recipe reads now")
        rows, self.held_out = split(self.table, self.fold)
        use_precision(recipe.precision)
        keras.utils.set_random_seed(self.seed)  # dropout, where statistics are estimated
        with pretrained.skipped():
            self.network = recipe.model(recipe.config, self.table.classes)
        self.training = recipe.batches(recipe.config, rows, training=True, seed=self.seed)
        self.validation = recipe.batches(recipe.config, self.held_out, training=False, seed=self.seed)
        last = recipe.stages(recipe.config, steps=len(self.training))[-1]  # statistics are estimated as in training
        set_trainable(self.network, last.trainable, train_batch_norm=last.train_batch_norm)
        self.forward = compile_forward(self.network)
        self.weights = [self.weights_of(run) for run in self.runs]
        self.norms = self.trained_normalisations()
        self.tasted: dict[tuple[int, ...], list[Candidate]] = {}

    def weights_of(self, run: Run) -> list[np.ndarray]:
        theirs = run.manifest["classes"]
        order = [theirs.index(name) for name in self.table.classes]
        if not take_weights(self.network, run / "best.weights.h5", order=order):
            raise ValueError(f"the head of {run.folder} has another number of outputs than {self.runs[0].folder}'s")
        return self.network.get_weights()

    def trained_normalisations(self) -> list[keras.layers.BatchNormalization]:
        """The layers whose statistics differ between the runs: these were trained."""
        place = {id(variable): number for number, variable in enumerate(self.network.weights)}

        def differs(layer: keras.layers.BatchNormalization) -> bool:
            numbers = [place[id(variable)] for variable in statistics_of([layer])]
            return any((one[number] != self.weights[0][number]).any() for one in self.weights for number in numbers)

        return [layer for layer in normalisations(self.network) if differs(layer)]

    def taste(self, members: tuple[int, ...]) -> list[Candidate]:
        """The average of these runs; where batch normalisation was trained, also with statistics estimated anew."""
        if members not in self.tasted:
            self.network.set_weights(average([self.weights[number] for number in members]))
            found = [Candidate(members, self.predicted())]
            if len(members) > 1 and self.norms:
                statistics = estimate(self.network, self.norms, self.training, layers=self.training.layers)
                found.append(Candidate(members, self.predicted(), statistics))
            elif len(members) == 1:
                self.check_alike(self.runs[members[0]], found[0].probabilities)
            self.tasted[members] = found
        return self.tasted[members]

    def predicted(self) -> np.ndarray:
        return predict_probabilities(self.forward, self.validation)

    def check_alike(self, run: Run, found: np.ndarray) -> None:
        if len(run.weights) > 1:  # its own predictions are a mean over snapshots
            return
        own = run.probabilities("oof").loc[list(self.held_out.ids), list(self.table.classes)].to_numpy()
        difference = float(np.abs(own - found).mean())
        if difference > ALIKE:
            raise ValueError(
                f"{run.folder} predicts otherwise under the recipe of {self.runs[0].folder} than it did under its own "
                f"(by {difference:.3f} on average, at most {ALIKE} is rounding): runs of one soup must see images alike"
            )

    def take(self, chosen: Candidate) -> None:
        """Give the network the weights of a candidate."""
        self.network.set_weights(average([self.weights[number] for number in chosen.members]))
        for variable, value in zip(statistics_of(self.norms), chosen.statistics or (), strict=False):
            variable.assign(value)


def make_soup(runs: Sequence[Run], output: Run, *, method: str, metric: str) -> tuple[Judgement, list[Run]]:
    """Average the weights of runs and write the outcome as a run, if it gains over the best of them.

    Returns the judgement and the runs in the order that its numbers mean. RuntimeError with both scores, and nothing
    written, where there is no gain.
    """
    started = time.monotonic()
    with locked(output):
        if (output / "manifest.json").is_file() and (output.complete or not output.manifest.get("soup")):
            raise ValueError(f"{output.folder} holds a run already; choose another folder with -o, or remove that one")
        pot = Pot(runs)
        found = judge(pot.taste, len(pot.runs), pot.held_out.labels, method=method, metric=metric)
        if not found.gains:
            raise RuntimeError(refusal(found, pot, method))
        write(pot, output, found, method=method, seconds=time.monotonic() - started)
    return found, pot.runs


def refusal(found: Judgement, pot: Pot, method: str) -> str:
    best = f"{found.metric} {found.best_score:.4f} of the best ingredient, {pot.runs[found.best.members[0]].folder}"
    if len(found.soup.members) == 1:
        return f"the soup is refused, nothing was written: no other run could be added without a loss to {best}"
    return (
        f"the {method} soup of {len(found.soup.members)} runs is refused, nothing was written: {found.metric} "
        f"{found.score:.4f} out of fold is no gain over {best}"
    )


def write(pot: Pot, output: Run, found: Judgement, *, method: str, seconds: float) -> None:
    """Write the run folder of a soup; result.json last."""
    pot.take(found.soup)
    about = manifest(pot.loaded, pot.table, seed=pot.seed, fold=pot.fold)
    ingredients = [
        {"folder": str(run.folder), "kept": number in found.soup.members, **find_origin(run.folder).record}
        for number, run in enumerate(pot.runs)
    ]
    choice = {"method": method, "metric": found.metric}
    about["soup"] = choice | {"key": key(pot.runs, **choice), "ingredients": ingredients}
    (output / "manifest.json").unlink(missing_ok=True)  # of a soup that was cut off while it was written
    start(output, pot.loaded, about, 0)
    save_weights(output, pot.network)
    write_probabilities(output / "oof.csv", pot.held_out.ids, pot.table.classes, found.soup.probabilities)
    write_probabilities(output / "labels.csv", pot.held_out.ids, pot.table.classes, pot.held_out.labels)
    told = choice | {
        "seconds": round(seconds, 1),
        "members": len(found.soup.members),
        "of": len(pot.runs),
        "statistics_estimated": found.soup.statistics is not None,
        "best_ingredient": found.best_score,
        "chosen_on_these_rows": True,
        "unseen": {"soup": found.unseen_score, "best_ingredient": found.unseen_best_score},
    }
    write_json(
        output / "result.json",
        {
            "scores": scores.score(pot.held_out.labels, found.soup.probabilities),
            "monitor": found.metric,
            "epoch": None,
            "epochs": None,
            "rows": len(pot.held_out),
            "seconds": round(seconds + sum(run.result["seconds"] for run in pot.runs), 1),
            "soup": told,
        },
    )


def average(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The mean of networks' weights, one list a network, array by array; what is no float is the first one's."""
    if len(weights) == 1:
        return list(weights[0])
    floats = [np.issubdtype(array.dtype, np.floating) for array in weights[0]]
    return [
        np.mean(arrays, 0, np.float64).astype(arrays[0].dtype) if is_float else arrays[0]
        for is_float, arrays in zip(floats, zip(*weights, strict=True), strict=True)
    ]


def identity(run: Run) -> tuple[str, str, str, int]:
    """What makes a run another one, but for its fold."""
    kept = run.manifest
    return kept["recipe"], kept["fingerprint"], member_of(kept), kept["seed"]


def key(runs: Sequence[Run], *, method: str, metric: str) -> str:
    """8 hexadecimal digits that are the same for the soups of the same runs over all folds, and for no others."""
    text = repr([*map(identity, runs), method, metric])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def check(runs: Sequence[Run]) -> None:
    """Raise ValueError unless two or more runs held the same rows of the same classes out."""
    if len(runs) < 2:
        raise ValueError(f"a soup takes two runs or more; received {len(runs)}")
    first = runs[0].manifest
    for run in runs[1:]:
        kept = run.manifest
        for name, hint in (("table", "the same table"), ("fold", "one fold"), ("precision", "one precision")):
            if kept.get(name) != first.get(name):
                raise ValueError(
                    f"runs of one soup must be of {hint}; {runs[0].folder} has {name} {first.get(name)!r}, "
                    f"{run.folder} {kept.get(name)!r}"
                )
        if set(kept["classes"]) != set(first["classes"]):
            raise ValueError(f"runs of one soup must have the same classes; {run.folder} and {runs[0].folder} differ")
