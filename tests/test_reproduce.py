"""`kcomp diff` names what differs between two runs; `kcomp verify` trains a run again and compares it bit for bit."""

import json
import os
import shutil

import conftest
import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from test_training import write

from kcomp.data import read_folders
from kcomp.measurements.checksum import images_checksum
from kcomp.reproduce.causes import Cause, causes, source_lines
from kcomp.reproduce.results import result_differences
from kcomp.runs.folder import Run
from kcomp.system.files import read_json, write_json
from kcomp.targets import OneOf

MANIFEST = {
    "recipe": "small",
    "fingerprint": "f",
    "backend": "jax",
    "seed": 0,
    "fold": 0,
    "table": "t",
    "classes": ["a", "b"],
    "target": OneOf(["a", "b"]).to_json(),
    "metric": "accuracy",
    "scores": ["accuracy"],
    "device": "cpu",
    "threads": 2,
    "versions": {"numpy": "2.4"},
}
IDS = ["x", "y", "z", "w"]


def make_run(folder, probabilities, *, losses=(0.5, 0.25), weight=1.0, ids=IDS, **manifest):
    """A complete run with two epochs. `probabilities` are those of class a; the labels are a, a, b, b."""
    write_json(folder / "manifest.json", MANIFEST | manifest)
    write_json(folder / "config.json", {"rate": 1e-3})
    (folder / "recipe").mkdir()
    (folder / "recipe/small.py").write_text("rate = 1\nepochs = 2\n")
    write_json(folder / "result.json", {"scores": {"accuracy": 1.0}, "seconds": 1.0, "images": "c"})
    pd.DataFrame({"epoch": [1, 2], "loss": losses, "seconds": np.random.rand(2)}).to_csv(
        folder / "log.csv", index=False
    )
    values = np.array(probabilities)
    pd.DataFrame({"image_id": ids, "a": values, "b": 1 - values}).to_csv(folder / "oof.csv", index=False)
    pd.DataFrame({"image_id": IDS, "a": [1, 1, 0, 0], "b": [0, 0, 1, 1]}).to_csv(folder / "labels.csv", index=False)
    with h5py.File(folder / "best.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.float32([weight, 2.0])
    return Run(folder)


@pytest.fixture
def first(tmp_path):
    return make_run(tmp_path / "first", [0.75, 0.75, 0.25, 0.25])


def test_equal_runs_differ_in_nothing(first, tmp_path):
    second = make_run(tmp_path / "second", [0.75, 0.75, 0.25, 0.25])
    assert causes(first, second) == [] and source_lines(first, second) == []
    assert result_differences(first, second).are_none


def test_the_causes_are_named_with_both_values(first, tmp_path):
    second = make_run(tmp_path / "second", [0.75] * 4, seed=1, threads=4, versions={"numpy": "2.4", "torch": "2.13"})
    write_json(second / "config.json", {"rate": 1e-3, "size": 64})
    write_json(second / "result.json", read_json(second / "result.json") | {"images": "d"})
    (second / "recipe/small.py").write_text("rate = 1\nepochs = 3\n")
    assert causes(first, second) == [
        Cause("recipe", "small.py", "2 lines", "2 lines"),
        Cause("values", "size", "-", "64"),
        Cause("seed", "seed", "0", "1"),
        Cause("threads", "threads", "2", "4"),
        Cause("data", "images", "c", "d"),
        Cause("versions", "torch", "-", "2.13"),
    ]
    assert source_lines(first, second)[-2:] == ["-epochs = 2", "+epochs = 3"]


def test_the_differences_of_results_are_measured(first, tmp_path):
    second = make_run(
        tmp_path / "second", [0.25, 0.75, 0.25, 0.5], losses=(0.5, 0.375), weight=1.5, ids=["x", "y", "z", "v"]
    )
    found = result_differences(first, second)
    assert (found.epochs, found.first_epoch, found.weights) == (2, 2, 0.5)
    assert (found.rows, found.other_rows, found.predictions) == (3, 2, 0.5)
    assert found.score.mean == pytest.approx(1 / 3)  # x is right in the first run, wrong in the second
    assert found.score.low == 0 and not found.are_none


@pytest.mark.parametrize(
    ("change", "name"),
    [({"losses": (0.5, 0.2)}, "first_epoch"), ({"weight": np.nextafter(np.float32(1), np.float32(2))}, "weights")],
)
def test_one_bit_is_a_difference(first, tmp_path, change, name):
    found = result_differences(first, make_run(tmp_path / "second", [0.75, 0.75, 0.25, 0.25], **change))
    assert not found.are_none and getattr(found, name)


def test_a_command_for_two_folders(first, tmp_path):
    make_run(tmp_path / "second", [0.75, 0.75, 0.25, 0.25], threads=4)
    done = conftest.kcomp("diff", "first", "second", cwd=tmp_path)
    assert done.stdout.splitlines()[-2:] == ["results: equal bit for bit", "threads differs"]
    (tmp_path / "second/result.json").unlink()
    assert (
        "results are not compared: second is not complete"
        in conftest.kcomp("diff", "first", "second", cwd=tmp_path).stdout
    )
    done = conftest.kcomp("diff", "first", ".", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "one run folder is needed; . has 2 runs, first first" in done.stderr


def test_the_checksum_knows_ids_and_contents(tmp_path):
    for label, colour in (("a", 10), ("b", 20)):
        (tmp_path / label).mkdir()
        for number in range(2):
            pixels = np.full((4, 4, 3), colour + number, np.uint8)
            cv2.imwrite(str(tmp_path / label / f"{label}{number}.png"), pixels)
    table = read_folders(tmp_path)
    before = images_checksum([table])
    assert images_checksum([table.rows(np.array([2, 3])), table.rows(np.array([1, 0]))]) == before
    path = tmp_path / "a/a0.png"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert images_checksum([table]) != before


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_a_run_is_verified_and_a_change_is_named(tmp_path, backend):
    write(tmp_path)
    conftest.kcomp(
        "train", "tiny.py", "-o", "run", "--deterministic", "--set", "epochs=1", backend=backend, cwd=tmp_path
    )
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["deterministic"] and manifest["fast"] and manifest["threads"] >= 1 and manifest["processor"]
    done = conftest.kcomp("verify", "run", cwd=tmp_path)
    assert "reproduced: 2 epochs, the weights and the predictions of 50 held-out rows are equal" in done.stdout
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    source = tmp_path / "other/recipe/tiny.py"
    source.write_text(source.read_text().replace("rotate=(-10, 10)", "rotate=(-11, 10)"))
    write_json(tmp_path / "other/manifest.json", manifest | {"versions": manifest["versions"] | {"numpy": "1.0"}})
    done = conftest.kcomp("verify", "other", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "not reproduced bit for bit" in done.stdout
    assert "epochs: different from epoch 1 on" in done.stdout and "possible causes: versions differs" in done.stdout


@pytest.mark.parametrize(
    ("manifest", "options", "message"),
    [
        ({"soup": {"key": "k"}}, [], "is a soup, which is not trained"),
        ({"pseudo": {"rows": 1}}, [], "was trained on pseudo-labels"),
        ({"from": {"sha256": "0"}}, [], "started from other weights; name them with --from"),
        ({}, ["--from", "w.weights.h5"], "did not start from other weights"),
        ({"history": [{"backend": "jax"}, {"backend": "torch"}]}, [], "jax and torch trained first"),
    ],
)
def test_runs_that_cannot_be_repeated_are_refused(first, tmp_path, manifest, options, message):
    write_json(first / "manifest.json", MANIFEST | manifest)
    done = conftest.kcomp("verify", "first", *options, cwd=tmp_path, check=False)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
