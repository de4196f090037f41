"""Train one network on several devices, each with an equal share of every batch."""

import keras


def use_devices(count: int) -> None:
    """Train on the first `count` devices of the backend with Keras's DataParallel.

    Each device gets an equal share of every batch. The result is the same as on one device, up to rounding.

    Raises:
        ValueError: If the backend is PyTorch, for which Keras has no data parallelism, or if there are fewer devices.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            "--devices needs the backend jax: Keras shares a batch out over devices on JAX alone. On PyTorch a run "
            "takes one; kcomp sweep trains several runs side by side, each on its own"
        )
    available = keras.distribution.list_devices()
    if count > len(available):
        raise ValueError(f"--devices {count} is more than JAX has: {', '.join(available)}")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=available[:count]))


def device_count() -> int:
    """Return how many devices share each batch. It is 1 before `use_devices` is called."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def clear_session() -> None:
    """Call keras.utils.clear_session without losing the devices of `use_devices`."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()
    keras.distribution.set_distribution(distribution)


def check_batch(batch_size: int) -> None:
    if batch_size % device_count():
        raise ValueError(
            f"a batch of {batch_size} images has no equal shares on {device_count()} devices; change --devices, or the "
            "recipe's batch size"
        )
