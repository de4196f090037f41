"""The recipe of Plant Pathology 2020 at a small size, on drawn leaves: training and the four submissions."""

import shutil

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest

CLASSES = ("healthy", "multiple_diseases", "rust", "scab")
SPOTS = {
    "healthy": [],
    "rust": [(200, 120, 20)],
    "scab": [(60, 50, 40)],
    "multiple_diseases": [(200, 120, 20), (60, 50, 40)],
}
SMALL = (
    "network=MobileNet",
    "pretrained=false",
    "image_size=32,48",
    "epochs=2",
    "warmup=0.5",
    "peak_rate=1e-3",
    "batch_size=8",
)


def draw_leaf(name, draws):
    """Return an image (48, 64, 3) of a green leaf with spots in the colours of its diseases."""
    image = np.full((48, 64, 3), (90, 90, 100), np.uint8)
    cv2.ellipse(image, (32, 24), (26, 15), float(draws.uniform(-20, 20)), 0, 360, (70, 140, 50), -1)
    for colour in SPOTS[name]:
        for _ in range(6):
            cv2.circle(image, (int(draws.integers(18, 46)), int(draws.integers(16, 32))), 3, colour, -1)
    return image


@pytest.fixture
def leaves(tmp_path):
    """Write 24 training and 6 test images with the tables of the competition, and return the folder."""
    folder, draws = tmp_path / "leaves", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    names = {f"Train_{number}": CLASSES[number % 4] for number in range(24)}
    names |= {f"Test_{number}": CLASSES[number % 4] for number in range(6)}
    for image_id, name in names.items():
        cv2.imwrite(str(folder / "images" / f"{image_id}.jpg"), draw_leaf(name, draws)[..., ::-1])
    rows = [{"image_id": key, **{label: int(label == names[key]) for label in CLASSES}} for key in names]
    frame = pd.DataFrame(rows)
    training = frame["image_id"].str.startswith("Train")
    frame[training].to_csv(folder / "train.csv", index=False)
    frame.loc[~training, ["image_id"]].to_csv(folder / "test.csv", index=False)
    frame[~training].assign(**dict.fromkeys(CLASSES, 0.25)).to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_four_submissions(leaves, backend, tmp_path):
    values = [text for value in (f"folder={leaves}", *SMALL) for text in ("--set", value)]
    conftest.kcomp("train", "plant_pathology_2020", "-o", "run", *values, backend=backend, cwd=tmp_path)
    sample = leaves / "sample_submission.csv"
    shutil.copy(sample, tmp_path / "run" / "test.csv")  # predictions of unknown views, which are not used
    options = ["--sample", sample, "--variants", "--smooth", "0.1", "0.3", "-o", "out"]
    done = conftest.kcomp("submit", "run", *options, cwd=tmp_path)
    assert "6 rows, 7 views" in done.stdout and "6 rows, 1 view" in done.stdout
    names = ("plain", "plain-smoothed", "views", "views-smoothed")
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(names)
    read = {name: pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in names}
    for frame in read.values():
        assert list(frame.columns) == ["image_id", *CLASSES] and list(frame["image_id"]) == [
            f"Test_{n}" for n in range(6)
        ]
    values = {name: frame[list(CLASSES)].to_numpy() for name, frame in read.items()}
    assert (values["plain"] != values["views"]).any() and (values["views"] != 0.25).all()
    for name in ("plain", "views"):
        above = values[name].max(1, keepdims=True) > 0.3
        expected = np.where(above, 0.9 * values[name] + 0.1 / 4, values[name])
        np.testing.assert_allclose(values[f"{name}-smoothed"], expected, atol=1e-6)
