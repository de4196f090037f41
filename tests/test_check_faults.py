"""`kcomp check` finds the fault of a faulty data set, and is quiet about clean ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from competitions import FAULTS, is_reported
from conftest import backends, environment, in_backend, one_slow

PROGRAM = Path(__file__).with_name("check_forks.py")
CLEAN = [f"clean:{seed}" for seed in range(4)]
SEVERAL = "shortcut-quality+wrong-5+equal-bytes-test+near-mirrored+mode-grey+truncated-half"  # of one competition


def check_all(backend, folder, names):
    command = [sys.executable, str(PROGRAM), str(folder), *names]
    result = subprocess.run(command, env=environment(backend), capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def check_in_fork(backend, folder, names):
    code = """
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from check_forks import check
    give(results=[check(Path(sys.argv[2]) / str(number), name) for number, name in enumerate(sys.argv[3:])])
    """
    return in_backend(backend, code, PROGRAM.parent, folder, *names)["results"]


def alarms(result):
    """The findings that are errors or warnings, once each."""
    return {(row["kind"], row["message"]) for row in result["findings"] if row["severity"] != "note"}


def reported_share(results):
    """The share of expected findings that are reported, and the ones that are not."""
    wanted = [(result["name"], kind, ids, result["findings"]) for result in results for kind, ids in result["expected"]]
    lost = [(name, kind, ids) for name, kind, ids, findings in wanted if not is_reported(findings, kind, ids)]
    return 1 - len(lost) / len(wanted), lost


def check_results(results):
    share, lost = reported_share(results)
    assert share >= 0.95, lost
    for result in results:
        if result["name"].startswith("clean"):
            assert len(alarms(result)) <= 1, alarms(result)


@pytest.mark.parametrize("backend", one_slow(slow="jax"))
def test_some_faults_are_found(backend, tmp_path):
    check_results(check_in_fork(backend, tmp_path, [CLEAN[0], SEVERAL]))


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends())
def test_faults_of_all_kinds_are_found_and_clean_data_is_not_accused(backend, tmp_path):
    assert len(FAULTS) >= 40 and len({name.split("-")[0] for name in FAULTS}) >= 15
    check_results(check_all(backend, tmp_path, [*CLEAN, *FAULTS]))
