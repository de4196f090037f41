"""What `kcomp train` checks at its start: at most three lines, remembered until rows or files change."""

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import kcomp
from damage_here import no_process  # noqa: F401
from test_train_targets import RECIPE

from kcomp import metrics
from kcomp.check import cheap
from kcomp.data.tables import with_class_names
from kcomp.report.finding import Finding
from kcomp.system.locks import try_lock


class AnyRecipe:
    def metric_of(self, target):
        return metrics.get("accuracy")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path


def make_table(folder, *, names=("cat", "dog") * 12, folds=(0, 0, 1, 1) * 6):
    """A table of 24 noise images in files."""
    paths = [folder / f"{number}.png" for number in range(len(names))]
    for number, path in enumerate(paths):
        if not path.exists():
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
            cv2.imwrite(str(path), pixels)
    frame = pd.DataFrame({"image_id": [path.stem for path in paths], "image": list(map(str, paths)), "fold": folds})
    return with_class_names(frame, list(names))


def lines(table):
    return cheap.cheap_lines(AnyRecipe(), table, "leaves.py")


def alarms_of(*findings):
    return lambda table, metric: list(findings)


def test_clean_data_prints_nothing(folder):
    assert lines(make_table(folder)) == []


def test_equal_files_in_two_folds_are_named(folder):
    table = make_table(folder)
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes())
    printed = lines(table)
    assert 1 <= len(printed) <= 3
    assert "0" in printed[0] and printed[-1].endswith("; kcomp check leaves.py shows the images")


def test_at_most_three_lines_are_printed(folder, monkeypatch):
    findings = [Finding("dark", "warning", f"problem {number}", ("a",)) for number in range(5)]
    monkeypatch.setattr(cheap, "alarms", alarms_of(*findings))
    assert lines(make_table(folder)) == [
        "warning: dark: problem 0 (a)",
        "warning: dark: problem 1 (a)",
        "warning: dark: problem 2 (a); kcomp check leaves.py shows 2 more and their images",
    ]


def test_the_second_start_reads_no_file(folder, monkeypatch):
    table = make_table(folder)
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes())
    first = lines(table)
    monkeypatch.setattr(cheap, "alarms", None)  # calling it would raise an error
    assert first and lines(table) == first


@pytest.mark.parametrize("change", ["file", "labels", "folds"])
def test_a_change_is_noticed(change, folder, monkeypatch):
    lines(make_table(folder))
    if change == "file":
        (folder / "3.png").write_bytes((folder / "3.png").read_bytes() + b"\0")
    changes = {"labels": {"names": ("dog",) + ("cat", "dog") * 11 + ("cat",)}, "folds": {"folds": (1, 1, 0, 0) * 6}}
    table = make_table(folder, **changes.get(change, {}))
    monkeypatch.setattr(cheap, "alarms", alarms_of(Finding("dark", "error", "new")))
    assert len(lines(table)) == 1


def test_an_error_does_not_stop_the_training(folder, monkeypatch):
    monkeypatch.setattr(cheap, "alarms", None)
    assert lines(make_table(folder)) == [
        "note: the data was not checked: TypeError: 'NoneType' object is not callable; "
        "kcomp check leaves.py has the details"
    ]


def test_another_process_that_checks_the_same_table_is_not_waited_for(folder, monkeypatch):
    table = make_table(folder)
    monkeypatch.setattr(cheap, "alarms", alarms_of(Finding("dark", "error", "new")))
    key = cheap.cache_key(table, metrics.get("accuracy"))
    with try_lock(folder / "cache" / "cheap-checks" / f"{key}.lock"):
        assert lines(table) == []
    assert len(lines(table)) == 1


def test_training_prints_the_lines_before_it_starts(folder):
    for number in range(24):
        (folder / "insects" / ("ant", "bee")[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number // 4 * 4).integers(0, 256, (8, 8, 3), np.uint8)  # four copies of each
        cv2.imwrite(str(folder / "insects" / ("ant", "bee")[number % 2] / f"{number}.png"), pixels)
    rows = "def table(config): return data.folds(data.read_folders('insects'), 2)"
    (folder / "copies.py").write_text(RECIPE.replace("def table(config): return everything(config)", rows))
    printed = kcomp("train", "copies.py", backend="torch", cwd=folder).stdout.splitlines()
    alarms = [line for line in printed if line.startswith(("error: ", "warning: "))]
    assert 1 <= len(alarms) <= 3 and "kcomp check copies.py shows" in alarms[-1]
    assert printed.index(alarms[-1]) < next(row for row, line in enumerate(printed) if line.startswith("seed 0: "))
    again = kcomp("train", "copies.py", backend="torch", cwd=folder).stdout
    assert "error: " not in again and "warning: " not in again  # the run is complete
