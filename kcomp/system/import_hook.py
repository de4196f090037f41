"""An import hook that keeps PyTorch out of a process that runs on JAX."""


class WithoutPyTorch:
    """An import hook that blocks albumentations.pytorch, which kcomp does not use and which imports PyTorch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "albumentations.pytorch":
            raise ImportError("on JAX, kcomp takes images as NumPy arrays: albumentations.pytorch is not loaded")
