"""Heat maps: which parts of an image raise an output of a network."""

import json
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import cv2
import keras
import numpy as np

from kcomp.engine.graph import functional_of
from kcomp.explain.heat.flat import FlatNetwork, flatten
from kcomp.explain.heat.grad_cam import CamName
from kcomp.explain.heat.method import Method, choose_method, is_channels_last
from kcomp.fast.install import install
from kcomp.jax_programs.network_key import cache_key_of_inference
from kcomp.prediction.forward import as_float
from kcomp.targets import Target

Compute = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Explainer:
    """A function that computes heat maps of a network.

    Attributes:
        network: The layer calls of the network.
        columns: The number of outputs that can be explained.
        compute: Takes images, and an array (images, columns) with 1 in the column to explain and 0 in the others.
            Returns maps of any size, (images, rows, columns).
    """

    network: FlatNetwork
    columns: int
    compute: Compute


# {functional model: {options: explainer}}
_explainers: "weakref.WeakKeyDictionary[Any, dict[str, Explainer]]" = weakref.WeakKeyDictionary()


def heat_map(
    network: keras.Model,
    image: np.ndarray,
    class_index: int,
    *,
    target: Target | None = None,
    layer: str | None = None,
    method: CamName = "hires-cam",
    signed: bool = False,
) -> np.ndarray:
    """Return a heat map of one image: which parts of the image raise an output of a network.

    `heat_maps` describes the method. It is faster for many images.

    Args:
        network: A functional network, such as the network of a run.
        image: The image, (height, width, channels) in 0..255, as the network takes it.
        class_index: The output to explain, from 0.
        target: The target of the network, as in `heat_maps`.
        layer: The name of the layer whose feature map is used, as in `heat_maps`.
        method: "hires-cam" or "grad-cam", as in `heat_maps`.
        signed: Whether parts that lower the output have negative values. If not, they have no heat.

    Returns:
        The heat map, float32 (height, width) in 0..1, or in -1..1 if `signed`.

    Raises:
        TypeError: As `heat_maps`.
        ValueError: As `heat_maps`.

    Examples:
        >>> import numpy as np
        >>> from kcomp import explain, models
        >>> network = models.classifier(models.efficientnet_lite0(64, weights=None), 3)
        >>> explain.heat_map(network, np.zeros((64, 64, 3)), class_index=2).shape
        (64, 64)
    """
    options: dict[str, Any] = {"target": target, "layer": layer, "method": method, "signed": signed}
    return heat_maps(network, np.asarray(image)[None], [class_index], **options)[0]


def heat_maps(
    network: keras.Model,
    images: np.ndarray,
    class_indices: Sequence[int] | np.ndarray,
    *,
    target: Target | None = None,
    layer: str | None = None,
    method: CamName = "hires-cam",
    signed: bool = False,
    batch_size: int = 16,
) -> np.ndarray:
    """Return a heat map of each image: which parts of the image raise an output of a network.

    The method is HiResCAM, a variant of Grad-CAM, on the last feature map before the last downsampling. For a network
    that ends in attention layers, such as a vision transformer, the method is attention rollout. Rollout shows what the
    network reads, and its maps are the same for all outputs.

    A class is explained by its logit, before the softmax or sigmoid. For a number or a grade, hot parts of the image
    raise the number or grade.

    Args:
        network: A Sequential or functional model keras.Model(inputs, outputs) with one input and one output, such as
            the network of a run. It may contain inner models.
        images: The images, (images, height, width, channels) in 0..255, as the network takes them.
        class_indices: For each image, the output to explain, from 0: the column of the run's oof.csv. Without `target`,
            the position among the network's outputs.
        target: The target of the network. It is needed for grades with the losses "ordinal" and "softmax", where
            several outputs make one grade.
        layer: The name of the layer whose feature map is used, or "inner/layer" for a layer in an inner model. None for
            the feature map described above.
        method: "hires-cam" or "grad-cam". Grad-CAM averages the gradient over the feature map, so heat can lie where
            the network did not look.
        signed: Whether parts that lower the output have negative values. If not, they have no heat. Attention rollout
            is never negative.
        batch_size: The number of images in a batch.

    Returns:
        The heat maps, float32 (images, height, width) in 0..1, or in -1..1 if `signed`. The largest value of each map
        is 1. If nothing in the image raises the output, the map is 0 everywhere.

    Raises:
        TypeError: If the network is not functional, or has several inputs or outputs.
        ValueError: If `method` is unknown, an index is out of range, the images do not fit the network, the layer does
            not exist or returns no feature map, or the network has neither a feature map nor attention layers that fit.

    References:
        Selvaraju et al. 2017, Grad-CAM. Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM for faithful
        explanations of convolutional neural networks. Abnar and Zuidema 2020, Quantifying attention flow in
        transformers.

    Examples:
        >>> import numpy as np
        >>> from kcomp import explain, models
        >>> network = models.classifier(models.efficientnet_lite0(64, weights=None), 3)
        >>> explain.heat_maps(network, np.zeros((2, 64, 64, 3)), [0, 2]).shape
        (2, 64, 64)
    """
    images = np.asarray(images)
    if method not in get_args(CamName):
        raise ValueError(f"method must be one of {', '.join(map(repr, get_args(CamName)))}; received {method!r}")
    install()
    explainer = explainer_of(network, target, layer, method)
    check_images(images, explainer.network)
    columns = one_hot(class_indices, len(images), explainer.columns)
    sides = images.shape[1:3] if is_channels_last(explainer.network) else images.shape[2:4]
    maps = np.empty((len(images), *sides), np.float32)
    for start in range(0, len(images), batch_size):
        count = min(batch_size, len(images) - start)
        # the last row is repeated up to a power of 2, so that JAX compiles for few shapes
        rows = start + np.minimum(np.arange(min(batch_size, 1 << (count - 1).bit_length())), count - 1)
        for row, values in enumerate(explainer.compute(images[rows], columns[rows])[:count], start):
            maps[row] = scale(values, sides, signed=signed)
    return maps


def explainer_of(network: keras.Model, target: Target | None, layer: str | None, cam: CamName) -> Explainer:
    """Return the `Explainer` of a network. It is created once for each network and each choice of options."""
    explainers = _explainers.setdefault(functional_of(network), {})
    options = json.dumps([None if target is None else target.to_json(), layer, cam])
    if options not in explainers:
        flat = flatten(network)
        shape = flat.shapes[flat.result]
        if len(shape) != 2 or shape[1] is None:
            raise ValueError(f"heat maps need a network that returns (batch, outputs); this one returns {shape}")
        columns = shape[1] if target is None else len(target.prediction_columns)
        outputs = (lambda logits: logits) if target is None else target.explained_tensor
        method = choose_method(flat, outputs, layer=layer, cam=cam)
        explainers[options] = Explainer(flat, columns, compile_method(network, method, options))
    return explainers[options]


def compile_method(network: keras.Model, method: Method, options: str) -> Compute:
    """Return a function of NumPy arrays that calls `method.compute`. On JAX, it is compiled.

    The function uses the weights that the network has at the time of the call. `options` is the part of the cache key
    that describes the options of `heat_maps`.
    """
    if keras.backend.backend() == "torch":
        import torch

        def compute(images: np.ndarray, columns: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                tensors = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(columns)
                return method.compute(as_float(tensors[0]), tensors[1]).cpu().numpy()

        return compute
    import jax

    from kcomp.jax_programs.store import cached_jit

    variables = list(network.variables)
    network_key = cache_key_of_inference(network)
    key = network_key and json.dumps([network_key, method.key, options])

    def trace(weights: list[Any], data: tuple[Any, Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return method.compute(as_float(data[0]), data[1])

    on_one_device = keras.distribution.distribution() is None
    run = cached_jit(trace, lambda _: key) if on_one_device else jax.jit(trace)
    return lambda *data: np.asarray(run([variable.value for variable in variables], data))


def check_images(images: np.ndarray, network: FlatNetwork) -> None:
    shape = network.shapes[0]
    fits = len(shape) == images.ndim and all(
        side in (None, size) for side, size in zip(shape, images.shape, strict=True)
    )
    if len(shape) != 4 or not fits:
        raise ValueError(f"images must have the network's shape {shape}, four dimensions; received {images.shape}")


def one_hot(class_indices: Sequence[int] | np.ndarray, count: int, columns: int) -> np.ndarray:
    """Return 1 in the column to explain and 0 in the others, float32 (images, columns).

    Raise ValueError unless there is one valid index for each of the `count` images.
    """
    indices = np.asarray(class_indices)
    if indices.shape != (count,):
        raise ValueError(f"heat maps need one class index for each of {count} images; received {indices.shape}")
    valid = (indices >= 0) & (indices < columns) & (indices == np.floor(indices))
    if not valid.all():
        raise ValueError(
            f"a class index must be an integer from 0 to {columns - 1}, one of {columns} outputs; received "
            f"{indices[~valid][0]}"
        )
    return np.eye(columns, dtype=np.float32)[indices.astype(int)]


def scale(values: np.ndarray, sides: Sequence[int], *, signed: bool) -> np.ndarray:
    """Resize a heat map to the size of the image, and divide it by its largest absolute value.

    Args:
        values: The heat map in the size of the network's feature map.
        sides: (height, width) of the image.
        signed: Whether negative values are kept. If not, they become 0.
    """
    heat = cv2.resize(np.float32(values), (sides[1], sides[0]), interpolation=cv2.INTER_LINEAR)
    heat = heat if signed else np.maximum(heat, 0)  # zero crossings are interpolated too
    highest = np.abs(heat).max()
    return heat / highest if highest > 0 else heat
