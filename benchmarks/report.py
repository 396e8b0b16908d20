"""Tables of a run: `python -m benchmarks.report FILE.json ...`; with `--keep FILE`, also the run in short, as JSON.

Reads what `pytest benchmarks --benchmark-json=FILE.json` writes, and what it has kept itself.
"""

import argparse
import json
import statistics
from pathlib import Path

TARGETS = {"forward": 2.5, "torch cut": 0.6, "lucent": 0.33}


def main() -> None:
    """Read the files and print a table for each kind of benchmark in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    runs = [short(run) for file in given.files for run in read(file)]
    if given.keep:
        given.keep.write_text(json.dumps(runs, indent=1) + "\n")
    print("\n".join(tables(runs)))


def read(file: Path) -> list[dict]:
    """The benchmarks of a file, each with the date and the machine of its run."""
    content = json.loads(file.read_text())
    if isinstance(content, list):
        return content
    about = {"date": content["datetime"][:10], "machine": content["machine_info"]["cpu"].get("brand_raw", "unknown")}
    return [run | about for run in content["benchmarks"]]


def short(run: dict) -> dict:
    """What is worth keeping of a benchmark; times in seconds."""
    stats = {key: float(f"{run['stats'][key]:.4g}") for key in ("median", "min")}
    kept = ("group", "name", "params", "extra_info", "date", "machine")
    return {key: run[key] for key in kept} | {"stats": stats}


def tables(runs: list[dict]) -> list[str]:
    """All tables, as Markdown."""
    makers = {"speed": speed, "scaling": scaling, "memory": memory, "start": start, "quality": quality, "layer": layer}
    lines = []
    for group, maker in makers.items():
        chosen = [run for run in runs if run["group"].replace(":", " ").split()[0] == group]
        if chosen:
            dates = ", ".join(sorted({f"{run['date']}, {run['machine']}" for run in chosen}))
            lines += [f"**{group}** ({dates})", "", *maker(chosen), ""]
    return lines


def speed(runs: list[dict]) -> list[str]:
    """One step, over each contender."""
    times: dict[str, dict[str, float]] = {}
    for run in runs:
        seconds = run["stats"]["median"] / run["extra_info"]["steps"]
        times.setdefault(run["params"]["layer"], {})[run["params"]["contender"]] = 1000 * seconds
    head = ["layer", "lightjax, ms", *(f"over {name} (target {target})" for name, target in TARGETS.items())]
    return table(head, [
        [name, f"{row['lightjax']:.1f}", *(f"{row['lightjax'] / row[other]:.2f}" for other in TARGETS)]
        for name, row in times.items()
    ])  # fmt: skip


def scaling(runs: list[dict]) -> list[str]:
    """Time for each unit of work, and over that of the smallest; the fastest of the rounds counts."""
    rows, first = [], {}
    for run in runs:
        ((what, size),) = run["params"].items()
        cost = 1000 * run["stats"]["min"] / run["extra_info"]["per"]
        first.setdefault(what, cost)
        rows.append([what, size, f"{cost:.1f}", f"{cost / first[what]:.2f}"])
    return table(["of", "size", "ms for each unit", "over the first"], rows)


def memory(runs: list[dict]) -> list[str]:
    """Largest memory of a process."""
    return table(["batch", "MB"], [[run["params"]["batch"], f"{run['extra_info']['megabytes']:.0f}"] for run in runs])


def start(runs: list[dict]) -> list[str]:
    """How long processes take."""
    cells = lambda run: [run["group"].partition(": ")[2], *run["params"].values(), f"{run['stats']['median']:.2f}"]
    return table(["a process", "", "seconds"], [cells(run) for run in runs])


def quality(runs: list[dict]) -> list[str]:
    """Share of the time of Lucent's loop until its value is reached."""
    rows, shares = [], []
    for run in runs:
        info = run["extra_info"]
        shares.append(info["share"] if info["share"] is not None else float("inf"))
        unit = f"{run['params']['layer']}:{run['params']['channel']}"
        reached = "not in 512" if info["reached"] is None else info["reached"]
        last = info["values"][max(info["values"], key=int)]
        rows.append([unit, f"{info['goal']:.0f}", reached, f"{shares[-1]:.2f}", f"{last:.0f}"])
    rows.append(["**median**", "", "", f"**{statistics.median(shares):.2f}**", ""])
    head = ["unit", "Lucent after 512 steps", "steps of lightjax", "share of the time (target 0.25)", "after 512 steps"]
    return table(head, rows)


def layer(runs: list[dict]) -> list[str]:
    """A whole layer, many pictures at a time."""
    return table(
        ["device", "computes in", "pictures at a time", "pictures a second", "GFLOP/s", "share of a matrix product's"],
        [
            [info["device"], run["params"]["dtype"], info["chunk"], f"{info['jobs'] / run['stats']['min']:.2f}",
             f"{info['operations'] / run['stats']['min'] / 1e9:.0f}",
             f"{info['operations'] / run['stats']['min'] / info['best']:.0%}"]
            for run in runs for info in [run["extra_info"]]
        ],
    )  # fmt: skip


def table(head: list, rows: list[list]) -> list[str]:
    """Lines of Markdown."""
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
    return [line(head), "|---" * len(head) + "|", *map(line, rows)]


if __name__ == "__main__":
    main()
