#!/usr/bin/env bash
# The main job with an installed kcomp, outside of the clone: train, predict, ensemble and submit.
#     bash scripts/try_installed.sh FOLDER
set -euo pipefail
unset PYTHONPATH
mkdir -p "$1"
cd "$1"

values=(--set head_epochs=1 --set epochs=1 --set folds=2 --set test_share=0.8)  # 360 labelled rows
for backend in torch jax; do
  kcomp train digits --backend "$backend" "${values[@]}"
done
kcomp predict runs
kcomp ensemble runs -o ensemble.csv
cp ensemble.csv sample_submission.csv
kcomp submit ensemble.csv --sample sample_submission.csv -o submission.csv

python - <<'END'
import csv
import pathlib

import kcomp

rows = list(csv.reader(open("submission.csv")))
assert len(rows) == 1 + 1438 and len(rows[0]) == 11, (len(rows), rows[0])  # 0.8 of 1,797 digits; an id and 10 classes
assert "site-packages" in kcomp.__file__, kcomp.__file__
assert {path.name for path in pathlib.Path().iterdir()} == {
    "runs",
    "ensemble.csv",
    "sample_submission.csv",
    "submission.csv",
}
END
