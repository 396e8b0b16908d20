"""Neuron groups of GoogLeNet for a picture, with what they leave: `python -m benchmarks.groups PICTURE`.

The picture is squeezed to 224 pixels. For each layer and number of groups: the error |X - WH| / |X|, the best that any
directions can do (SVD), the residual's share of the squared length of the activations and of the attribution to the
class, the class of the network when it goes on from the groups without the residual, and the processor's seconds of the
factorization.
"""

import argparse
import time

import jax
import numpy as np
from PIL import Image

import lightjax as lj

LAYERS, NUMBERS = ("mixed4a", "mixed4d", "mixed5a"), (6, 8, 20)
LOGITS = "softmax2_pre_activation_matmul"


def starts(values: np.ndarray, number: int, directions: np.ndarray, draws: int) -> list[str]:
    """For random starts: the error, and the least cosine of a direction with its nearest of the usual start."""
    from sklearn.decomposition import NMF

    found = []
    for seed in range(draws):
        model = NMF(number, init="random", random_state=seed, max_iter=500, tol=1e-5)
        weights = model.fit_transform(values)
        rows = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
        error = np.linalg.norm(values - weights @ model.components_) / np.linalg.norm(values)
        found.append(f"{error:.4f} ({(directions @ rows.T).max(1).min():.2f})")
    return found


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture")
    parser.add_argument("--goal", default="golden retriever", help="the class of the attribution")
    parser.add_argument("--starts", type=int, default=0, help="random starts of 6 groups to compare with")
    options = parser.parse_args()
    with Image.open(options.picture) as opened:
        squeezed = opened.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    picture = np.asarray(squeezed, np.float32) / 255
    model = lj.load_model()
    print("| layer | groups | error | SVD | residual, squared | residual, attribution | class without it | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for layer in LAYERS:
        cut = lj.rest(model, layer)
        after = jax.jit(lambda cut, values: cut(values)[LOGITS])
        for number in NUMBERS:
            goal = f"class_logit({options.goal!r})"
            found = lj.groups(picture, layer, number, objective=goal, model=model, designs=0, progress=False)
            parts = found.weights @ found.directions
            whole = (parts + found.residual).reshape(-1, parts.shape[-1])
            start = time.process_time()
            lj.factor(whole, number)
            seconds = time.process_time() - start
            spectrum = np.square(np.linalg.svd(whole, compute_uv=False))
            bound = np.sqrt(spectrum[number:].sum() / spectrum.sum())
            logits = np.asarray(after(cut, parts)[0])
            best = model.class_names[int(logits.argmax())]
            left, total = found.attribution[-1], found.attribution.sum()
            print(
                f"| {layer} | {number} | {found.error:.4f} | {bound:.4f} | {found.shares[-1]:.0%} | "
                f"{left:.2f} of {total:.2f} ({left / total:.0%}) | {best} ({logits.max():.1f}) | {seconds:.2f} |",
                flush=True,
            )
            if number == NUMBERS[0] and options.starts:
                print(f"  random starts: {', '.join(starts(whole, number, found.directions, options.starts))}")


if __name__ == "__main__":
    main()
