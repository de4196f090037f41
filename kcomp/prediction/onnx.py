"""A finished run as an ONNX file, for ONNX Runtime and OpenVINO. Runs on PyTorch, whichever backend trained the run:
weights files serve both, and only PyTorch has an exporter that needs no TensorFlow."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import torch

import kcomp
from kcomp.fast.install import install
from kcomp.prediction.forward import compile_forward, softmax
from kcomp.prediction.runs import trained_network
from kcomp.runs.folder import Run
from kcomp.system.backends import is_installed
from kcomp.system.files import write_atomically

TOLERANCE = 1e-3  # rounding reaches 1e-6; more means that the exporter misread the network


class Probabilities(torch.nn.Module):
    """The network in inference with the softmax that ends a prediction."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(images, training=False), -1)


def export_run(run: Run, path: Path) -> str:
    """Write the classifier of a finished run as ONNX, and say what was written.

    Input "images": float32 (batch, height, width, 3) in 0..255, any batch size. Output "probabilities": float32
    (batch, classes). Arithmetic is float32 whatever the recipe's precision. The file's metadata has classes (a JSON
    list in the order of the columns), recipe, fingerprint, backend, seed, fold, kcomp, opset.
    RuntimeError, and no file, where ONNX Runtime finds other probabilities in it than Keras.
    """
    keras.config.set_dtype_policy("float32")
    network = trained_network(run, run.recipe().recipe, precision="float32")
    model = onnx_model(network)
    describe(model, run)
    content = model.SerializeToString()
    compared = check(content, network, run) if is_installed("onnxruntime") else "not checked: no onnxruntime"
    write_atomically(path, content)
    height, width = network.input_shape[1:3]
    return (
        f"{path}: {len(content) / 1e6:.1f} MB, images (batch, {height}, {width}, 3) in 0..255 -> "
        f"probabilities (batch, {network.output_shape[-1]}), {compared}"
    )


def onnx_model(network: keras.Model) -> onnx.ModelProto:
    """The network with its softmax, for any batch size.

    It is exported as if it were about to learn, with frozen statistics: batch normalisation then stays one operation,
    which ONNX Runtime and OpenVINO fold into the convolution before it, and not several that they cannot fold.
    """
    network.trainable = True
    example = torch.zeros((2, *network.input_shape[1:]))  # one image would be taken for a fixed batch
    install()
    with torch.enable_grad():
        program = torch.onnx.export(
            Probabilities(network).eval(),
            (example,),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


def describe(model: onnx.ModelProto, run: Run) -> None:
    """Write into the file's metadata what the run's manifest knows."""
    kept = run.manifest
    known: dict[str, Any] = {name: kept[name] for name in ("recipe", "fingerprint", "backend", "seed", "fold")}
    known |= {"classes": json.dumps(kept["classes"], ensure_ascii=False), "kcomp": kcomp.__version__}
    known["opset"] = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    onnx.helper.set_model_props(model, {name: str(value) for name, value in known.items()})


def check(content: bytes, network: keras.Model, run: Run) -> str:
    """Compare ONNX Runtime's probabilities with Keras's on three random images; RuntimeError where they differ."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(0)
    tints = draws.uniform(0, 255, (3, 1, 1, network.input_shape[-1]))  # averages of even noise would all be alike
    images = (tints * draws.uniform(0, 1, (3, *network.input_shape[1:]))).astype(np.float32)
    [found] = session.run(None, {"images": images})
    difference = float(np.abs(found - softmax(compile_forward(network)(images))).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f"{run.folder}: ONNX Runtime's probabilities must differ from Keras's by {TOLERANCE} at most; they differ "
            f"by {difference:.1e}, so nothing was written"
        )
    return f"at most {difference:.0e} from Keras"
