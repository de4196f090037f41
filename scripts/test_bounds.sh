#!/usr/bin/env bash
# Tests kcomp with the lower bounds of pyproject.toml, or with the newest versions of the same libraries.
#     bash scripts/test_bounds.sh lower|newest FOLDER [REQUIREMENT...]
# Makes a virtual environment in FOLDER with the Python that $PYTHON names (python3). A REQUIREMENT, such as
# torch==2.13.0, limits what pip chooses.
set -euo pipefail
case "${1:-}:${2:+folder}" in
  lower:folder | newest:folder) ;;
  *) echo "usage: bash scripts/test_bounds.sh lower|newest FOLDER [REQUIREMENT...]" >&2; exit 2 ;;
esac
bounds=$1 folder=$(realpath -m "$2") requirements=("${@:3}")
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv "$folder"
python="$folder/bin/python"
export KCOMP_CACHE="$folder/cache"

"$python" - "$bounds" > "$folder/pins.txt" <<'PROGRAM'
import sys
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in ("jax", "torch", "lite"))]
if sys.argv[1] == "lower":
    print(*(line.replace(">=", "==") for group in groups for line in group if ">=" in line), sep="\n")
PROGRAM
"$python" -m pip install -q --upgrade --upgrade-strategy eager -c "$folder/pins.txt" -e ".[jax,torch,lite]" \
  pytest hypothesis "${requirements[@]}"
"$python" --version
"$python" -m pip freeze --exclude-editable | tee "$folder/versions.txt"
"$python" -m pytest -q tests/test_{tables,folds,metrics,predict,models,training,ensemble}.py
