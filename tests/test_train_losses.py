"""`kcomp train` with each loss of kcomp.losses: mixing, class weights and missing labels, on both backends."""

import numpy as np
import pandas as pd
import pytest
from conftest import backends, kcomp
from test_train_targets import RECIPE

from kcomp.runs.folder import Run

LOSSES = {  # by the kind of labels of the recipe
    "labels": ("Focal(2.0, 0.25)", "Asymmetric()", "BinaryCrossentropy(0.3)", "GeneralizedCrossentropy(0.5)"),
    "cosines": ("ArcFace(0.3)", "ArcFace(0.2)"),
    "classes": (
        "Focal(label_smoothing=0.1)",
        "BinaryCrossentropy(0.2)",
        "GeneralizedCrossentropy()",
        "SimilaritySmoothing(0.2, np.ones((10, 10)))",
    ),
    "numbers": ("Huber(0.3)",),
    "counts": ("Tweedie(1.2)", "Tweedie(1.0)"),
    "grades": ("Huber(0.5)",),
    "ordinal": ("None",),
}
SOURCE = (
    RECIPE.replace('Literal["labels", "numbers", "grades"]', f"Literal{list(LOSSES)}")
    .replace('kind: Literal', 'loss: str = "None"\n    kind: Literal')
    .replace("models, targets", "losses, models, targets")
    .replace('== "numbers":', 'in ("numbers", "counts"):')
    .replace('"cm"))', '"cm"), link="log" if config.kind == "counts" else "identity")')
    .replace('loss_name="ordinal"', 'loss_name="ordinal" if config.kind == "ordinal" else "regression"')
    .replace("rows = data.sklearn_digits().rows(np.arange(96))", """rows = data.sklearn_digits().rows(np.arange(96))
    if config.kind in ("classes", "cosines"):
        return data.Table(rows.frame.reset_index(drop=True).assign(fold=np.arange(96) % 3), rows.target)""")
    .replace("dropout=0.0)", 'dropout=0.0, head=head_of(config.kind))')
    .replace("def test(config)", """def head_of(kind):
    return {"ordinal": "coral", "cosines": models.ArcFaceHead(8, 2)}.get(kind, "dense")

def test(config)""")
    .replace('if config.kind == "numbers" else "balanced"', 'if config.kind in ("numbers", "counts") else "balanced"')
    .replace('    smoothing = 0.0 if config.kind == "numbers" else 0.1\n', "    loss = eval(config.loss, vars(losses) | {'np': np})\n")
    .replace("label_smoothing=smoothing", "loss=loss")
)  # fmt: skip
CASES = [(kind, loss) for kind, names in LOSSES.items() for loss in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("losses")
    (path / "small.py").write_text(SOURCE)
    (path / "half.py").write_text(SOURCE.replace("stages=stages)", 'stages=stages, precision="mixed_float16")'))
    return path


def train(folder, backend, kind, loss, recipe="small.py", check=True):
    run = Run(folder / f"{backend}-{recipe}-{kind}-{CASES.index((kind, loss)) if (kind, loss) in CASES else 'other'}")
    values = ("--set", f"kind={kind}", "--set", f"loss={loss}")
    done = kcomp("train", recipe, *values, "-o", run.folder, backend=backend, cwd=folder, check=check)
    return run, done


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "loss"), CASES)
def test_both_backends_train_the_same(folder, kind, loss):
    losses = []
    for backend in ("jax", "torch"):
        run, _ = train(folder, backend, kind, loss)
        losses.append(pd.read_csv(run / "log.csv").loss)
        oof = run.probabilities("oof")
        assert run.target.prediction_problems(oof.to_numpy(), list(oof.index)) == []
    assert np.isfinite(losses[0]).all() and losses[0][1] != losses[0][0]
    np.testing.assert_allclose(*losses, rtol=2e-3)


@pytest.mark.parametrize("backend", backends())
def test_a_stage_binds_its_loss(folder, backend):
    run, _ = train(folder, backend, "labels", "Focal(2.0, 0.25)", recipe="half.py")
    log = pd.read_csv(run / "log.csv")
    assert np.isfinite(log.loss).all() and len(log) == 2


@pytest.mark.parametrize(
    ("kind", "loss", "message"),
    [
        ("numbers", "Focal()", "is for a target of one class or several labels; this target is numbers"),
        ("classes", "Focal(alpha=0.25)", "use Stage(class_weights=...)"),
        ("classes", "ArcFace()", "ArcFace needs logits that are scaled cosines"),
        ("numbers", "Tweedie()", "Numbers(names, link='log')"),
        ("grades", "__import__('keras').losses.MeanSquaredError()", "the logits of grades are not in the units of the"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(folder, kind, loss, message):
    run, done = train(folder, "torch", kind, loss, check=False)
    assert done.returncode == 1 and message in done.stderr.strip().splitlines()[-1]
    assert not run.folder.exists()
