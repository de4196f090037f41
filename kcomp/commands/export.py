"""The command `kcomp export`."""

from pathlib import Path

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument
from kcomp.system.backends import choose_backend, prepare_backend, require_packages
from kcomp.system.errors import UsageError, readable_errors


@click.command(short_help="Write the network of each run as an ONNX file.")
@runs_argument
@output_option("For one run, the file NAME.onnx; for several, a folder. Default: model.onnx in each run folder.")
@readable_errors
def export(runs: tuple[Path, ...], output: Path | None) -> None:
    """Write the network of each run as an ONNX file, for ONNX Runtime, OpenVINO and others.

    RUNS are run folders, or folders that contain them. The exported network takes images with pixels from 0 to 255,
    and returns predictions, such as probabilities. The export needs PyTorch, also for runs that JAX trained.
    """
    run_list = find_runs(runs)
    names_file = output is not None and output.suffix == ".onnx"
    if names_file and len(run_list) > 1:
        raise UsageError(f"-o {output} names one file, but there are {len(run_list)} runs; name a folder")
    if output is not None:
        check_output(output, folder=not names_file)
    for run in run_list:
        if len(run.weights) > 1:
            raise ValueError(
                f"{run.folder} predicts the mean of {len(run.weights)} snapshots, which is no single network; "
                "export takes runs of one network. To export a last snapshot, train with Snapshots(last=1)"
            )
    choose_backend("torch")  # the error names the extra to install
    require_packages(["onnx", "onnxscript"], "onnx")
    prepare_backend("torch")
    from kcomp.prediction.onnx import export_run

    for run in run_list:
        path = run / "model.onnx" if output is None else output if names_file else output / f"{run.name}.onnx"
        click.echo(export_run(run, path))
