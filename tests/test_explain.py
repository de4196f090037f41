"""`kcomp explain`: its files, its page in Chromium, and what it says without images."""

import json

import chromium
import conftest
import explained
import numpy as np
import pandas as pd
import pytest

from kcomp.targets import AnyOf, Grades, Numbers, OneOf

ROWS = 60
TARGETS = {
    "one": (OneOf(("cat", "dog", "fox")), "accuracy"),
    "any": (AnyOf(("rust", "scab")), "macro_f1"),
    "numbers": (Numbers(("grams", "years"), (0.0, 0.0), (1.0, 2.0)), "mae"),
    "grades": (Grades(("mild", "severe", "worst")), "quadratic_kappa"),
}


def arrays(kind, seed):
    """Labels that are equal for all seeds, and noisy predictions."""
    random, target = np.random.default_rng(0), TARGETS[kind][0]
    classes = random.integers(0, 3, ROWS)
    labels = {
        "one": np.eye(3)[classes],
        "any": np.where(random.random((ROWS, 2)) < 0.1, np.nan, random.random((ROWS, 2)) < 0.4),
        "numbers": np.where(random.random((ROWS, 2)) < 0.1, np.nan, random.normal(size=(ROWS, 2))),
        "grades": classes[:, None].astype(float),
    }[kind]
    noise = np.random.default_rng(seed + 1).normal(size=labels.shape)
    if kind in ("numbers", "grades"):
        return labels, target.normalized(np.nan_to_num(labels) + 0.5 * noise)
    return labels, target.predict(2 * np.nan_to_num(labels) + noise)


def two_seeds(folder, kind, **options):
    target, metric = TARGETS[kind]
    ids = [f"i{place:02}" for place in range(ROWS)]
    for seed in (0, 1):
        labels, predictions = arrays(kind, seed)
        for fold in (0, 1):
            part = slice(fold, None, 2)
            explained.write_run(folder / f"{seed}{fold}", target, ids[part], labels[part], predictions[part],
                                metric=metric, seed=seed, fold=fold, **options)  # fmt: skip
    return folder


@pytest.mark.parametrize("kind", TARGETS)
def test_every_target_without_images(tmp_path, kind):
    done = conftest.kcomp("explain", two_seeds(tmp_path / "runs", kind), "-o", "out", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "out/explain.html"
    content = json.loads((tmp_path / "out/explain.json").read_text())
    assert {"runs", "summary", "score", "classes", "predictions", "errors", "slices", "wrong_labels", "several"} <= set(
        content
    )
    assert content["score"]["rows"] == ROWS and "absent.pickle" in content["summary"]["problem"]
    frame = pd.read_csv(tmp_path / "out/errors.csv", dtype={"image_id": str})
    assert sorted(frame["image_id"]) == [f"i{place:02}" for place in range(ROWS)]
    assert set(frame["fold"]) == {0, 1}
    assert "cannot be read" in (tmp_path / "out/explain.html").read_text()


@chromium.needs_chromium
def test_the_page_works(tmp_path):
    conftest.kcomp("explain", two_seeds(tmp_path / "runs", "one"), cwd=tmp_path)
    [page] = (tmp_path / "explain/r/f").glob("*.html")
    with chromium.open_page(page) as shown:
        shown.check()
        assert shown.page.locator("h2").all_inner_texts() == [
            "Where do the models fail?",
            "Score",
            "Classes",
            "Calibration",
            "Predictions",
            "Errors",
            "Wrong labels",
            "Slices",
            "Stress",
            "Several models",
        ]


def test_one_run_and_one_fold_are_enough(tmp_path):
    target, metric = TARGETS["one"]
    labels, predictions = arrays("one", 0)
    ids = [f"i{place:02}" for place in range(ROWS)]
    explained.write_run(tmp_path / "run", target, ids, labels, predictions, metric=metric)
    done = conftest.kcomp("explain", "run", cwd=tmp_path)
    assert "Several models" not in done.stdout and (tmp_path / "explain/r/f/errors.csv").is_file()


def test_wrong_arguments(tmp_path):
    (tmp_path / "empty").mkdir()
    done = conftest.kcomp("explain", "empty", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "no run at or below empty" in done.stderr
    two_seeds(tmp_path / "runs", "one")
    result = tmp_path / "runs/00/result.json"
    result.write_text(result.read_text()[:20])
    done = conftest.kcomp("explain", "runs", cwd=tmp_path, check=False)
    hint = "remove it, and train the run to its end again"
    assert done.returncode == 1 and "result.json is damaged" in done.stderr and hint in done.stderr
    result.unlink()
    done = conftest.kcomp("explain", "runs", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "not complete" in done.stderr
    done = conftest.kcomp("explain", "runs/01", "--backend", "abacus", cwd=tmp_path, check=False)
    assert done.returncode == 2 and not (tmp_path / "explain").exists()
    (tmp_path / "explain").touch()
    done = conftest.kcomp("explain", "runs/01", cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stderr.endswith("explain is a file; choose another folder with -o\n")
