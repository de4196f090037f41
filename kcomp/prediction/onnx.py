"""Export a finished training run as ONNX, for ONNX Runtime and OpenVINO. This module needs PyTorch."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import torch

import kcomp
from kcomp.fast.install import install
from kcomp.prediction.forward import compile_forward
from kcomp.prediction.runs import trained_network
from kcomp.runs.folder import Run
from kcomp.system.backends import is_installed
from kcomp.system.files import write_atomically
from kcomp.targets import Target

TOLERANCE = 1e-3  # largest difference from Keras; rounding is far below, so more means a wrong export


class Predictor(torch.nn.Module):
    """A PyTorch module that runs a Keras network in inference mode and converts its logits to predictions."""

    def __init__(self, network: keras.Model, target: Target) -> None:
        super().__init__()
        self.network, self.target = network, target

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.target.predict_tensor(self.network(images, training=False))


def export_run(run: Run, path: Path) -> str:
    """Write the network of a finished run as ONNX, and return a line of text that describes the file.

    The input "images" is float32 (batch, height, width, 3) in 0..255, with any batch size. The output "predictions" is
    float32 (batch, columns), with the columns of oof.csv. The arithmetic is float32.

    Raises:
        RuntimeError: If predictions of ONNX Runtime differ from those of Keras. No file is written.
    """
    keras.config.set_dtype_policy("float32")
    network = trained_network(run, run.recipe().recipe, precision="float32")
    model = onnx_model(network, run.target)
    describe(model, run)
    content = model.SerializeToString()
    compared = check(content, network, run) if is_installed("onnxruntime") else "not checked: no onnxruntime"
    write_atomically(path, content)
    height, width = network.input_shape[1:3]
    return (
        f"{path}: {len(content) / 1e6:.1f} MB, images (batch, {height}, {width}, 3) in 0..255 -> "
        f"predictions (batch, {len(run.target.prediction_columns)}), {compared}"
    )


def onnx_model(network: keras.Model, target: Target) -> onnx.ModelProto:
    """Return an ONNX model from images to predictions, for any batch size. `target` converts logits to predictions."""
    network.trainable = True
    example = torch.zeros((2, *network.input_shape[1:]))  # with one image the exporter would fix the batch size
    install()
    with torch.enable_grad():
        program = torch.onnx.export(
            Predictor(network, target).eval(),
            (example,),
            input_names=["images"],
            output_names=["predictions"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


def describe(model: onnx.ModelProto, run: Run) -> None:
    """Add facts about the run to the metadata of an ONNX model, such as recipe, backend, seed and columns."""
    manifest = run.manifest
    metadata: dict[str, Any] = {name: manifest[name] for name in ("recipe", "fingerprint", "backend", "seed", "fold")}
    columns = json.dumps(run.target.prediction_columns, ensure_ascii=False)
    metadata |= {"columns": columns, "target": run.target.name, "kcomp": kcomp.__version__}
    metadata["opset"] = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    onnx.helper.set_model_props(model, {name: str(value) for name, value in metadata.items()})


def check(content: bytes, network: keras.Model, run: Run) -> str:
    """Return a text with the difference between predictions of ONNX Runtime and Keras on three random images.

    Raise RuntimeError if a difference is above `TOLERANCE`. `content` is the ONNX model as bytes.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(0)
    tints = draws.uniform(0, 255, (3, 1, 1, network.input_shape[-1]))  # plain noise images all have the same mean
    images = (tints * draws.uniform(0, 1, (3, *network.input_shape[1:]))).astype(np.float32)
    [predictions] = session.run(None, {"images": images})
    expected = run.target.predict(compile_forward(network)(images))
    difference = float((np.abs(predictions - expected) / np.maximum(1, np.abs(expected).max(0))).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"{run.folder}: ONNX Runtime's predictions must differ from Keras's by {TOLERANCE} at most; they differ "
            f"by {difference:.1e}, so nothing was written"
        )
    return f"at most {difference:.0e} from Keras"
