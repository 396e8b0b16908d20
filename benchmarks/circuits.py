"""Expanded weights of GoogLeNet: time, memory, faithfulness: `python -m benchmarks.circuits [FOLDER]`.

FOLDER holds photographs; without it faithfulness is left out. Times are the processor's, so that other programs matter
little; the first time has the compilation in it.
"""

import argparse
import resource
import time

import numpy as np

import lightjax as lj

PAIRS = (
    ("mixed3a", "mixed3b"),
    ("maxpool4", "mixed4a"),
    ("mixed3b", "mixed4a"),
    ("conv2d2", "mixed3b"),
    ("mixed4c", "mixed4e"),
)
BRANCHES = (("maxpool4", "mixed4a"), ("mixed4b", "mixed4c"), ("mixed4d", "mixed4e"), ("maxpool10", "mixed5a"))
BRANCHES += (("mixed5a", "mixed5b"),)
MIXED = ["mixed3a", "mixed3b", "mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e", "mixed5a", "mixed5b"]


def main() -> None:
    """Print the tables of docs/circuits.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="a folder of photographs")
    parser.add_argument("--large", action="store_true", help="also on the maps of a picture of 224 pixels")
    folder, large = vars(parser.parse_args()).values()
    model = lj.load_model()
    print("| source, target | weights | first, CPU s | again, CPU s | most memory so far, MB |\n|---|---|---|---|---|")
    for source, target in PAIRS:
        timed(source, target, model)
    if large:
        timed(*PAIRS[0], model, size=224)
    print("\n| layer | between rows / between columns, 3x3 | 5x5 |\n|---|---|---|")
    for source, target in BRANCHES:
        found = lj.expanded_weights(source, target, model=model, progress=False).weights
        block = model.architecture.blocks[MIXED.index(target)]
        ends = np.cumsum([block.conv1x1, block.conv3x3, block.conv5x5])
        three, five = found[ends[0] : ends[1], :, 1:4, 1:4], found[ends[1] : ends[2]]
        print(f"| {target} | {banding(three):.2f} | {banding(five):.2f} |", flush=True)
    if folder:
        print(
            "\n| target | photographs | overall | quartiles of units | strengths | CPU s |\n|---|---|---|---|---|---|"
        )
        for target, number in (("mixed3b", 25), ("mixed3b_pre_relu", 10)):
            weights = lj.expanded_weights("mixed3a", target, model=model, progress=False)
            start = time.process_time()
            found = weights.faithfulness(folder, number=number, model=model, progress=False)
            low, high = found.quartiles
            print(
                f"| {target} | {number} | {found.overall:.3f} | {low:.3f}, {high:.3f} | {found.strengths:.3f} |", end=""
            )
            print(f" {time.process_time() - start:.0f} |", flush=True)


def timed(source: str, target: str, model: lj.networks.InceptionV1, size: int | None = None) -> None:
    """Print a row of the first table."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        shape = lj.expanded_weights(source, target, model=model, size=size, progress=False).weights.shape
        seconds.append(time.process_time() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    where = f", {size} px" if size else ""
    print(
        f"| {source}, {target}{where} | {list(shape)} | {seconds[0]:.1f} | {seconds[1]:.1f} | {memory:.0f} |",
        flush=True,
    )


def banding(weights: np.ndarray) -> float:
    """Variance between the rows of kernels over that between their columns."""
    return float(weights.mean(3).var(2).sum() / weights.mean(2).var(2).sum())


if __name__ == "__main__":
    main()
