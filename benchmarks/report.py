"""The table of ratios from the JSON of a run: `python benchmarks/report.py FILE`."""

import json
import sys
from pathlib import Path

TARGETS = {"forward": 2.5, "torch cut": 0.6, "lucent": 0.33}

runs = json.loads(Path(sys.argv[1]).read_text())["benchmarks"]
times: dict[str, dict[str, float]] = {}
for run in runs:
    milliseconds = 1000 * run["stats"]["median"] / run["extra_info"]["steps"]
    times.setdefault(run["params"]["layer"], {})[run["params"]["contender"]] = milliseconds
print("| layer | lightjax, ms | " + " | ".join(f"over {name} (target {t})" for name, t in TARGETS.items()) + " |")
print("|---" * (2 + len(TARGETS)) + "|")
for layer, row in times.items():
    ratios = " | ".join(f"{row['lightjax'] / row[name]:.2f}" for name in TARGETS)
    print(f"| {layer} | {row['lightjax']:.1f} | {ratios} |")
