"""Accuracy of a finished weights file on the held-out pictures, as lightjax itself computes it."""

import argparse
from pathlib import Path

import jax
import numpy as np
from prepare import centre, read_split

import lightjax as lj


def main() -> None:
    """Read the command line and print top-1 accuracy, over all pictures and as the mean over classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of Caltech-101: CLASS/*.jpg")
    parser.add_argument("weights", help="weights file of mini")
    parser.add_argument("--part", choices=("val", "test"), default="test")
    args = parser.parse_args()
    parts, classes = read_split(args.data)
    pictures = parts[args.part]
    truth = np.array([classes.index(picture.partition("/")[0]) for picture in pictures])
    model = lj.load_model(args.weights)
    predict = jax.jit(lambda images: model(images)["softmax2_pre_activation_matmul"].argmax(-1))
    images = np.stack([centre(args.data / picture) for picture in pictures])
    found = np.concatenate([predict(np.float32(images[i : i + 61]) / 255) for i in range(0, len(images), 61)])
    right = found == truth
    per_class = [right[truth == label].mean() for label in np.unique(truth)]
    print(f"{args.part}: top-1 {right.mean():.4f}, mean over {len(per_class)} classes {np.mean(per_class):.4f}")


if __name__ == "__main__":
    main()
