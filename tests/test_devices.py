"""One run on several devices: the losses of one, to rounding, though each device sees its share of a batch alone."""

import importlib.util
import json
import os
import textwrap

import conftest
import pandas as pd
import pytest
from test_training import TINY, write

LOOK = """
class Look(layers.Layer):
    def call(self, x):
        import jax
        jax.debug.inspect_array_sharding(x, callback=lambda found: print("SHARE", found.shard_shape(x.shape)[0], flush=True))
        return x

class Pause"""
CALLS = [
    ["train", "tiny.py", "-o", "one"],
    ["train", "tiny.py", "-o", "two", "--devices", "2"],
    ["train", "odd.py", "--devices", "3"],
    ["train", "odd.py", "--devices", "2"],
]
COMMANDS = """
    from kcomp.cli import main
    for number, call in enumerate({calls!r}):
        code = 0
        try:
            main(call + ["--backend", "jax"])
        except SystemExit as end:
            code = end.code
        print("ENDED" * (number < 3), flush=True)
        assert (code or 0) == (number >= 2), (call, code)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_two_devices_give_the_losses_of_one(tmp_path, monkeypatch):
    """And a run that two began is continued by one."""
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "60")  # a program of the cache shows no share
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2")
    source = TINY.replace("x = layers.Rescaling(1 / 255)(x)", "x = Look()(layers.Rescaling(1 / 255)(x))")
    write(tmp_path, source.replace("\nclass Pause", LOOK))
    (tmp_path / "odd.py").write_text(TINY.replace("batch_size=16", "batch_size=15"))
    code = textwrap.dedent(COMMANDS).format(calls=CALLS)
    done = conftest.run_process("jax", [], code=code, cwd=tmp_path, env=conftest.environment("jax"), fresh=True)
    assert done.returncode == 0, done.stderr
    one, two, _, _ = done.stdout.split("ENDED")
    for name, text, share in (("one", one, "SHARE 16"), ("two", two, "SHARE 8")):
        head, _, rest = text.partition("stage 'all'")  # of which the frozen layers run ahead of the step, and all
        assert share in head and share in rest and ("SHARE 8" in text) == (name == "two")
    assert "--devices 3 is more than JAX has: cpu:0, cpu:1" in done.stderr
    assert "a batch of 15 images has no equal shares on 2 devices" in done.stderr
    assert not (tmp_path / "runs").exists() and "Traceback" not in done.stderr
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # the continued run needs no shares
    write(tmp_path)
    training = ("train", "tiny.py", "-o", "both")
    conftest.killed_after(2, tmp_path / "both", (*training, "--devices", "2"), backend="jax", cwd=tmp_path)
    assert json.loads((tmp_path / "both" / "manifest.json").read_text())["device"] == "2 x cpu"
    conftest.kcomp(*training, backend="jax", cwd=tmp_path)
    manifest = json.loads((tmp_path / "both" / "manifest.json").read_text())
    assert [part["device"] for part in manifest["history"]] == ["2 x cpu", "cpu"]
    logs = [
        pd.read_csv(tmp_path / name / "log.csv")[["loss", "log_loss", "roc_auc"]] for name in ("one", "two", "both")
    ]
    for log in logs[1:]:
        pd.testing.assert_frame_equal(logs[0], log, rtol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_pytorch_refuses_several_devices(tmp_path):
    write(tmp_path)
    done = conftest.kcomp("train", "tiny.py", "--devices", 2, backend="torch", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "--devices needs the backend jax" in done.stderr and done.stderr.count("\n") == 1
