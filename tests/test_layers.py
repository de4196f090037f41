"""Imports point one way: a module may import only modules above it in this list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kcomp"

# From docs/design.md. The first group imports no Keras.
LAYERS = """
usage cache files scores statistics bound launch compiling values space averaging recipe probabilities runs table page drawing
data.draws data.tables data.datasets data.splits data.pseudo data.decoded data.images data.foreign_layers data.batches data
augment schedules views tracking
fast.layers fast.steps fast.pairs fast.excitation fast.straight fast.machine_code fast.lanes fast.loops fast.depthwise_loops fast.squeeze_loops fast.excitation_loops fast.loops_torch fast.silu_torch
fast.convolve_torch fast.depthwise_torch fast.squeeze_torch fast.excitation_torch fast.pixels_torch fast.convolution_jax fast.convolution_torch
fast.folding_torch fast.inference_torch fast.convolution fast.adam_torch fast
models.precision models.start models.pretrained models.backbones models.classifier models.cut models.transfer models.description models.programs models
predict training.keepers training.step training.mixed training.below training.batch_statistics training.checks training.devices training.state training.callbacks training.session training.snapshots training.weight_averages
training.outcome training.origin training.manifest training.feature_keys training.features training.cached training.fit training
inference export
ensemble.submission ensemble.reading ensemble.parts ensemble.objectives ensemble.averages ensemble.temperature ensemble.weights
ensemble.stacking ensemble.methods ensemble.diversity ensemble.gains ensemble.blending ensemble.framework_gain
ensemble.judging ensemble.report ensemble.grouping ensemble.group_judging ensemble.group_report ensemble soup_choice soup
pseudo
compare.sketch compare.jobs compare.verdict compare.divergence compare.outcome
compare.pictures compare.sections compare.report
compare.graph compare.pullback compare.experiment compare.arithmetic compare.single compare.trajectory compare.optimizer compare.cost
compare.environment compare.probe compare
sweep.machine sweep.variants sweep.jobs sweep.process sweep.progress sweep.board sweep.pool sweep.remote sweep.cluster sweep.plan sweep
tune.search tune.training tune.storage tune.worker tune.pictures tune.report tune
runs_page
commands.common commands.train commands.sweep commands.tune commands.predict commands.compare commands.ensemble commands.soup commands.pseudo commands.export commands.submit commands.runs commands
cli
""".split()
PARTS = ("data", "augment", "schedules", "views", "fast", "models")
NO_KERAS = (
    "usage",
    "cache",
    "files",
    "scores",
    "bound",
    "launch",
    "values",
    "averaging",
    "space",
    "recipe",
    "probabilities",
    "runs",
    "table",
    "page",
    "drawing",
    "ensemble",
    "pseudo",
    "compare.sketch",
    "compare.jobs",
    "compare.verdict",
    "compare.divergence",
    "compare.outcome",
    "compare.pictures",
    "compare.sections",
    "compare.report",
    "compare.probe",
    "runs_page",
    "sweep",
    "tune",
    "commands",
    "cli",
)


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """Names of kcomp's modules that a file imports, wherever in it, and the outside packages it imports at its top."""
    tree = ast.parse(path.read_text())
    inside, outside = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kcomp":
            base = node.module.removeprefix("kcomp").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".strip(".")
                inside.add(full if full in LAYERS else base)
        elif isinstance(node, ast.Import):
            inside |= {alias.name.removeprefix("kcomp.") for alias in node.names if alias.name.startswith("kcomp.")}
    for node in tree.body:
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            outside.add(node.module.split(".")[0])
    return inside - {""}, outside


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_up(path):
    name = name_of(path)
    assert name in LAYERS, f"{name} has no place in the layers; give it one here and in docs/design.md"
    above = LAYERS[: LAYERS.index(name)]
    inside, outside = imported(path)
    assert inside <= set(above), f"{name} imports {sorted(inside - set(above))}, which stand below it"
    if name.split(".")[0] in PARTS:
        assert not inside & {"runs", "recipe", "cli"}, "parts know nothing of runs and recipes"
    if {name, name.split(".")[0]} & set(NO_KERAS):
        assert not outside & {"keras", "jax", "torch"}


def test_the_command_line_imports_nothing_heavy():
    heavy = {"keras", "numpy", "pandas", "cv2", "rich", "sklearn"}
    code = f"import sys, kcomp.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_training_on_jax_does_not_import_pytorch():
    code = """
import sys
from kcomp import launch
launch.prepare("jax")
import albumentations, kcomp.training.fit, kcomp.inference
print("torch" in sys.modules, "albumentations" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False True\n"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_has_one_idea(path):
    assert len(path.read_text().splitlines()) <= 300
