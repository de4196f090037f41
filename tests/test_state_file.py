"""The chain of two states: checksums, damage, states of other runs, and which files a state needs."""

import json

import click
import numpy as np
import pytest

from kcomp.commands.common import Duration
from kcomp.runs.folder import BEFORE, STATE, Run
from kcomp.system.durations import parse_duration
from kcomp.system.files import DamagedError
from kcomp.training.progress import TrainingProgress, load_progress, needed_files, run_identity
from kcomp.training.run_files import file_hash, publish_best, remove_old_best
from kcomp.training.state_file import check_state, read_arrays, write_state

ARRAYS = {"network/00000/kernel": np.arange(12, dtype="f4").reshape(3, 4)}


def write(run, epochs, identity="mine", **entries):
    progress = json.dumps({"run": identity, "epochs": epochs, **entries})
    write_state(run, ARRAYS | {"progress": np.array(progress)})


def load(run):
    """Return the progress, and the lines that were printed."""
    lines = []
    return load_progress(run, "mine", lines.append), lines


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    for epochs in (1, 2, 3):
        write(run, epochs)
    return run


def test_the_last_two_states_are_kept(run):
    assert [check_state(run / name)["epochs"] for name in (STATE, BEFORE)] == [3, 2]
    assert sorted(path.name for path in (run / "state").iterdir()) == ["before.npz", "epoch.npz"]
    progress, lines = load(run)
    assert progress == TrainingProgress(run="mine", epochs=3) and not lines
    np.testing.assert_array_equal(read_arrays(run / STATE)["network/00000/kernel"], ARRAYS["network/00000/kernel"])
    assert load(Run(run / "none")) == (TrainingProgress(run="mine"), [])


def test_each_flipped_byte_and_each_cut_is_found(run):
    content = (run / STATE).read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (run / STATE).write_bytes(damaged)
        with pytest.raises(DamagedError, match="does not fit its checksum"):
            check_state(run / STATE)
    for length in (0, 1, 63, 64, 65, len(content) // 2, len(content) - 64, len(content) - 1):
        (run / STATE).write_bytes(content[:length])
        with pytest.raises(DamagedError, match="is damaged"):
            check_state(run / STATE)
    (run / STATE).write_bytes(content + b"0")
    with pytest.raises(DamagedError, match="does not fit its checksum"):
        check_state(run / STATE)


def test_the_state_before_replaces_a_damaged_one(run):
    (run / STATE).write_bytes((run / STATE).read_bytes()[:100])
    progress, [line] = load(run)
    assert progress.epochs == 2
    assert line == (
        f"{run / STATE} is damaged: its content does not fit its checksum; "
        "the run continues with the state before it, of epoch 2"
    )
    assert load(run) == (progress, [])  # the damaged file is gone
    write(run, 3)
    assert [check_state(run / name)["epochs"] for name in (STATE, BEFORE)] == [3, 2]


def test_a_kill_between_the_two_moves_loses_nothing(run):
    (run / STATE).replace(run / BEFORE)
    assert load(run) == (TrainingProgress(run="mine", epochs=3), [])


def test_two_damaged_states_change_nothing(run):
    for name in (STATE, BEFORE):
        (run / name).write_bytes(b"nothing")
    with pytest.raises(
        DamagedError, match=r"epoch.npz is damaged.*before.npz is damaged.*; remove .* to start the run"
    ):
        load(run)
    assert [(run / name).read_bytes() for name in (STATE, BEFORE)] == [b"nothing"] * 2


def test_the_state_of_another_run_is_not_used(run):
    write(run, 9, identity="other")
    progress, [line] = load(run)
    assert progress.epochs == 3 and "epoch.npz belongs to another run" in line
    manifest = {"fingerprint": "f", "seed": 0, "fold": 1, "table": "t", "pseudo": None, "backend": "jax"}
    assert run_identity(manifest) == run_identity(manifest | {"backend": "torch", "from": None})
    for change in ({"seed": 1}, {"fold": 0}, {"table": "u"}, {"pseudo": {"rows": 1}}, {"from": {"sha256": "0"}}):
        assert run_identity(manifest) != run_identity(manifest | change)


def test_a_state_needs_the_weights_that_it_names(run):
    for epoch in (1, 2):
        (run / f"state/best-{epoch}.weights.h5").write_bytes(b"weights %d" % epoch)
    names = [f"state/best-{epoch}.weights.h5" for epoch in (1, 2)]
    for epochs, name in zip((4, 5), names):
        write(run, epochs, files={name: file_hash(run / name)})
    assert needed_files(run) == set(names) and load(run)[0].epochs == 5
    publish_best(run, [names[1]])
    (run / names[1]).unlink()
    (run / names[1]).write_bytes(b"weights 3")  # of a later epoch
    progress, [line] = load(run)
    assert progress.epochs == 4 and "best-2.weights.h5 is damaged" in line
    publish_best(run, progress.files)
    assert (run / "best.weights.h5").read_bytes() == b"weights 1"
    remove_old_best(run, needed_files(run))
    assert not (run / names[1]).exists() and (run / names[0]).exists()
    (run / names[0]).unlink()
    with pytest.raises(DamagedError, match=r"best-1.weights.h5 is missing; remove"):
        load(run)


def test_durations():
    assert parse_duration("90s") == 90 and parse_duration("0.5h") == 1800 and parse_duration("1h 5min 2s") == 3902
    for text in ("", "10", "min", "0s", "-1s", "5 days", "10min later"):
        with pytest.raises(ValueError, match="such as 90s, 10min or 8h30m; received"):
            parse_duration(text)
    assert Duration().convert("2min", None, None) == 120
    with pytest.raises(click.BadParameter, match="such as 90s, 10min or 8h30m; received '5'"):
        Duration().convert("5", None, None)
