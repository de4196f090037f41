"""Several devices for one run: each batch is shared out over them, and an update stays what it is."""

import keras


def use_devices(count: int) -> None:
    """Train on the first `count` devices of the backend, by Keras's DataParallel: each holds the weights, and gets
    its share of every batch. Gradients and batch normalisation are those of the whole batch, to rounding.

    ValueError where the backend is PyTorch, for which Keras has no data parallelism, or has fewer devices.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            "--devices needs the backend jax: Keras shares a batch out over devices on JAX alone. On PyTorch a run "
            "takes one; kcomp sweep trains several runs side by side, each on its own"
        )
    found = keras.distribution.list_devices()
    if count > len(found):
        raise ValueError(f"--devices {count} is more than JAX has: {', '.join(found)}")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))


def device_count() -> int:
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def clear_session() -> None:
    """Keras's clear_session, which would forget the devices too."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()
    keras.distribution.set_distribution(distribution)


def check_batch(batch_size: int) -> None:
    """ValueError unless the devices can have equal shares of a batch."""
    if batch_size % device_count():
        raise ValueError(
            f"a batch of {batch_size} images has no equal shares on {device_count()} devices; change --devices, or the "
            "recipe's batch size"
        )
