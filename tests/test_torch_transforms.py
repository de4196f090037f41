"""Transforms of torchvision: seeded for each image, without PyTorch's global generator, on both backends."""

import importlib.util

import conftest
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

CODE = """
import hashlib
import torch
import numpy as np
from kcomp import data
from kcomp.data.torch_transforms import TorchTransform

class Noise(torch.nn.Module):  # the ways in which transforms of torchvision draw
    def forward(self, image):
        if torch.rand(1) < 0.5:
            image = image.flip(-1)
        gain = torch.empty(1).uniform_(0.8, 1.2).item() + 0.1 * int(torch.randint(0, 3, (1,)))
        order = torch.randperm(3)
        weights = torch.distributions.Dirichlet(torch.ones(3)).sample()
        choice = torch.multinomial(torch.ones(4), 1)
        noise = torch.randn_like(image.float()) + torch.normal(0.0, 1.0, image.shape)
        changed = image[order].float() * gain + weights[:, None, None] + choice + noise
        return changed.round().clamp(0, 255).to(torch.uint8)

rows = data.sklearn_digits().rows(np.arange(24))
def sha(workers, seed=3):
    made = data.Batches(rows, 8, batch_size=8, training=True, seed=seed, transform=torch.nn.Sequential(Noise()))
    made.workers = workers
    return [hashlib.sha256(batch["images"].tobytes()).hexdigest() for batch in made.epochs(0, 2)]

torch.manual_seed(0)
before = torch.get_rng_state()
first = sha(1)
untouched = bool((torch.get_rng_state() == before).all())
torch.manual_seed(1)
image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
flipped = TorchTransform(type("Flip", (torch.nn.Module,), {"forward": lambda self, image: image.flip(-1)})())(image=image)["image"]
try:
    TorchTransform(torch.nn.Flatten())(image=image)
except ValueError as error:
    message = str(error)
give(first=first, four=sha(4), other=sha(1, seed=4), untouched=untouched, message=message,
     flipped=bool((flipped == image[:, ::-1]).all()), contiguous=flipped.flags.c_contiguous)
"""


def test_a_transform_of_pytorch_is_seeded_for_each_image():
    installed = [backend for backend in ("jax", "torch") if importlib.util.find_spec(backend)]
    results = [conftest.in_backend(backend, CODE) for backend in installed]
    for result in results:
        assert result == results[0] and result["first"] == result["four"]
        assert len({*result["first"], *result["other"]}) == 12
        assert result["untouched"] and result["flipped"] and result["contiguous"]
        assert "must return a tensor (channels, height, width); it gave torch.Size([3, 20])" in result["message"]


def test_transforms_of_torchvision_draw_from_the_seed_alone():
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError) as error:  # the wheel of PyPI does not fit PyTorch for CPUs
        pytest.skip(f"torchvision cannot be imported: {error}")
    import numpy as np
    import torch

    from kcomp.data.torch_transforms import TorchTransform

    steps = [
        *(
            v2.RandomResizedCrop(24),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3, 0.1),
            v2.RandomRotation(9),
        ),
        *(v2.RandomAffine(9, (0.1, 0.1)), v2.AutoAugment(), v2.RandAugment(), v2.TrivialAugmentWide(), v2.AugMix()),
        *(v2.RandomErasing(1.0), v2.ElasticTransform(), v2.RandomPerspective(), v2.RandomPhotometricDistort()),
        *(v2.GaussianBlur(3), v2.RandomPosterize(4), v2.RandomChoice([v2.RandomInvert(), v2.RandomEqualize()])),
        *(v2.RandomOrder([v2.RandomInvert(), v2.RandomSolarize(99)]), v2.RandomApply([v2.RandomInvert()])),
    ]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for step in steps:
        transform, results = TorchTransform(step), []
        for number in range(2):
            torch.manual_seed(number)
            before = torch.get_rng_state()
            results.append([])
            for seed in range(12):
                transform.set_random_seed(seed)
                results[-1].append(transform(image=image)["image"].tobytes())
            assert torch.equal(torch.get_rng_state(), before), step
        assert results[0] == results[1] and len(set(results[0])) > 1, step
