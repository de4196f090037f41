"""Compare suggested stages with fixed choices, on three small competitions.

    python scripts/suggest_stages.py train --data data --folder suggested
    python scripts/suggest_stages.py report --folder suggested

Each choice trains the recipe of worth_recipes.py with other stages. Seed s holds out fold s, which the suggestion does
not see. All choices train for the same few epochs, those of worth_recipes.py. Nothing is chosen on the held-out rows.
Each result is one line of FOLDER/results.jsonl, which is written at once. A second call trains what is missing.
`report` writes docs/results/suggest.csv and the tables of docs/results/suggest.md.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from worth_report import interval

ROOT = Path(__file__).parents[1]
RECIPE = Path(__file__).with_name("worth_recipes.py")
PAGE, FILE = ROOT / "docs" / "results" / "suggest.md", ROOT / "docs" / "results" / "suggest.csv"
SIZE_FACTORS = {"ants-bees": 1.0, "sign-digits": 1.0, "cards": 1.25}  # 128, 64 and 160 pixels
UPPER = "head.*|block[67].*|top.*"
RATE = 3e-4  # of the fixed choices: the middle of the rates that are suggested
SUGGESTED, BY_SIZE = "suggested", "by the number of images"
CHOICES = (SUGGESTED, BY_SIZE, "head only", "upper blocks", "all layers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "report"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of the three competitions")
    parser.add_argument("--folder", type=Path, default=Path("suggested"), help="for results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--part", default="1/1", help="such as 1/2, the first of two processes")
    options = parser.parse_args()
    if options.action == "report":
        rows = [json.loads(line) for line in (options.folder / "results.jsonl").read_text().splitlines()]
        pd.DataFrame(rows).sort_values(["competition", "seed", "choice"]).to_csv(FILE, index=False)
        PAGE.write_text(page_text(PAGE.read_text(), pd.read_csv(FILE)))
    else:
        train_all(options)


def train_all(options):
    from kcomp.system.backends import prepare_backend

    prepare_backend("torch")
    sys.path.insert(0, str(ROOT))
    number, count = map(int, options.part.split("/"))
    options.folder.mkdir(parents=True, exist_ok=True)
    pairs = [(competition, seed) for seed in options.seeds for competition in SIZE_FACTORS]
    for competition, seed in pairs[number - 1 :: count]:
        plans = plans_of(options, competition, seed)
        for choice, plan in plans.items():
            if (competition, seed, choice) in measured(options.folder):
                continue
            same = measured(options.folder).get((competition, seed, SUGGESTED))
            if choice != SUGGESTED and same and plan == plans[SUGGESTED]:
                line = {**same, "choice": choice}
            else:
                line = {"competition": competition, "seed": seed, "choice": choice}
                line |= train_plan(options, competition, seed, plan)
            with (options.folder / "results.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def measured(folder):
    """Return the lines of results.jsonl by competition, seed and choice."""
    path = folder / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(line["competition"], line["seed"], line["choice"]): line for line in lines}


def load(options, competition):
    from kcomp import recipe as recipes

    folder = str((options.data / competition).resolve())
    values = {"competition": competition, "folder": folder, "size_factor": SIZE_FACTORS[competition]}
    return recipes.load(RECIPE).with_values(**values)


def plans_of(options, competition, seed):
    """Return the stages of each choice, by its name. The suggestion is measured on the training rows."""
    from worth_recipes import EPOCHS, HEAD_EPOCHS

    from kcomp import data, models, suggest
    from kcomp.new.stages import StagePlan, default_stages

    recipe = load(options, competition).recipe
    training, _ = data.split(recipe.table(recipe.config), seed)
    started = time.process_time()
    suggestion = suggest.stages(training, models.efficientnet_lite0(recipe.config.image_size))
    text = f"{competition} {seed}: {time.process_time() - started:.0f} CPU s. " + " ".join(suggestion.reasons)
    print(text, file=sys.stderr, flush=True)
    plan, by_size = suggestion.plan, default_stages(len(training), is_lite=True)
    head, epochs = HEAD_EPOCHS[competition], EPOCHS[competition]
    fixed = dict.fromkeys(CHOICES)
    fixed["head only"] = StagePlan(head_epochs=head, name="head again", train="head.*", epochs=epochs, rate=1e-3)
    fixed["upper blocks"] = StagePlan(head_epochs=head, name="upper blocks", train=UPPER, epochs=epochs, rate=RATE)
    fixed["all layers"] = StagePlan(head_epochs=head, name="all", train="all", epochs=epochs, rate=RATE)
    for choice, suggested in ((SUGGESTED, plan), (BY_SIZE, by_size)):
        layers = UPPER if "block[67]" in suggested.train else suggested.train
        changes = {"head_epochs": head, "epochs": epochs, "train": layers, "cache_views": None}
        fixed[choice] = dataclasses.replace(suggested, **changes)
    return fixed


def train_plan(options, competition, seed, plan):
    """Train stages, and return the score and the log loss of the held-out rows, the CPU seconds, and the stages."""
    from rich.console import Console
    from worth import scores

    from kcomp.runs.folder import Run
    from kcomp.training.fit import train

    loaded, run = load(options, competition), Run(options.folder / f"run-{options.part[0]}")
    shutil.rmtree(run.folder, ignore_errors=True)
    recipe = dataclasses.replace(loaded.recipe, stages=lambda config: stages_of(plan))
    started = time.process_time()
    with (options.folder / f"log-{options.part[0]}.txt").open("w") as log:
        console = Console(file=log, force_terminal=False)
        train(dataclasses.replace(loaded, recipe=recipe), run, seed=seed, fold=seed, console=console)
    line = scores(run, run.probabilities("oof").to_numpy())
    cpu = round(time.process_time() - started, 1)
    return {**line, "cpu": cpu, "layers": plan.train, "rate": plan.rate, "epochs": plan.head_epochs + plan.epochs}


def stages_of(plan):
    """Return a suggestion's stages, with as many cached augmentations of each image as the head has epochs."""
    from kcomp.suggest.suggestion import stages_of

    head, rest = stages_of(plan)
    return [dataclasses.replace(head, cache_views=head.epochs), rest]


def page_text(text, frame):
    """Return the text of the page with the tables of these results."""
    start, end = "<!-- results -->\n", "<!-- end -->"
    before, _, rest = text.partition(start)
    return before + start + "\n" + "\n".join(tables(frame)) + "\n\n" + end + rest.partition(end)[2]


def tables(frame):
    """Yield the lines of the tables."""
    names = list(SIZE_FACTORS)
    yield "| choice | " + " | ".join(names) + " | log loss | CPU seconds | n |"
    yield "|---" * (len(names) + 4) + "|"
    for choice in CHOICES:
        rows = frame[frame.choice == choice]
        counts = [int((rows.competition == name).sum()) for name in names]
        cells = [choice, *(cell(rows[rows.competition == name]) for name in names)]
        cells += ["" if choice == SUGGESTED else change(frame, choice), f"{rows.cpu.mean():.0f}"]
        yield "| " + " | ".join([*cells, ", ".join(map(str, counts))]) + " |"
    yield ""
    yield "| data | seed | suggested layers | rate |"
    yield "|---|---|---|---|"
    for row in frame[frame.choice == SUGGESTED].itertuples():
        layers = row.layers.replace("|", "\\|")
        yield f"| {row.competition} | {row.seed} | `{layers}` | {short(row.rate)} |"


def cell(rows):
    """Return the mean score and, with two rows, its standard deviation; then the same of the log loss."""
    if rows.empty:
        return ""
    texts = []
    for values in (rows.score, rows.log_loss):
        texts.append(f"{values.mean():.3f}" + (f" +- {values.std():.3f}" if len(values) > 1 else ""))
    return "; ".join(texts)


def short(rate):
    return f"{rate:.0e}".replace("e-0", "e-")


def change(frame, choice):
    """Return by how many percent the log loss is higher than that of the suggestion, with the 95 % interval."""
    losses = frame.pivot(index=["competition", "seed"], columns="choice", values="log_loss")
    losses = losses[[choice, SUGGESTED]].dropna()
    ratios = np.log(losses[choice] / losses[SUGGESTED]).to_numpy()
    mean, low, high = (100 * np.expm1(value) for value in interval(ratios.tolist()))
    return f"{mean:+.0f} % ({low:+.0f} to {high:+.0f})"


if __name__ == "__main__":
    main()
