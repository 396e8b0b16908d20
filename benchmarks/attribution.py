"""How well attributions predict ablation: `python -m benchmarks.attribution PICTURE`.

For GoogLeNet and a picture with a golden retriever and a tiger cat, squeezed to 224 pixels (bilinear). The tables are
those of docs/attribution.md. Seconds are the processor's, of a second call, which compiles nothing.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image

import lightjax as lj

LAYERS = ("mixed3b", "mixed4a", "mixed4d", "mixed4e", "mixed5a", "mixed5b")
DOG, CAT = "class_logit('golden retriever')", "class_logit('tiger cat')"
MODEL: Any = None


def squeezed(path: str) -> np.ndarray:
    """A picture, squeezed to 224 by 224 pixels."""
    with Image.open(path) as opened:
        small = opened.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32) / 255


def attribute(objective: str, picture: np.ndarray, layer: str, **settings: Any) -> lj.analysis.Attribution:
    """`lj.attribute` of one network, without a bar."""
    return lj.attribute(objective, picture, layer=layer, model=MODEL, progress=False, **settings)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table as Markdown."""
    head = list(head)
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def figures(found: lj.analysis.Agreement) -> str:
    """An agreement in short."""
    return f"{found.pearson:.3f} / {found.spearman:.3f} / {found.slope:.2f} / {found.shared:.2f}"


def of_layers(picture: np.ndarray) -> Iterable[Iterable[Any]]:
    """For each layer the gap of integrated gradients, and how well channels agree with ablation."""
    for layer in LAYERS:
        gradient, path = (
            attribute(DOG, picture, layer, method=method, steps=50) for method in ("gradient", "integrated")
        )
        truth = attribute(DOG, picture, layer, method="ablation")
        missed = (path.total - path.difference) / path.difference
        agreements = [figures(one.agreement(ablation=truth)) for one in (gradient, path)]
        yield (
            layer,
            f"{missed:+.3%}",
            f"{path.gap:+.3%}",
            f"{gradient.total:.2f} of {gradient.difference:.2f}",
            *agreements,
        )


def of_rules(picture: np.ndarray) -> Iterable[Iterable[Any]]:
    """For each rule of max pools how well positions, and channels, agree with ablation."""
    for objective, layer in ((DOG, "mixed4d"), (CAT, "mixed4d"), (DOG, "mixed3b")):
        truth = attribute(objective, picture, layer, method="ablation")
        for pool in ("max", "relaxed", "mean"):
            one = attribute(objective, picture, layer, pool=pool)
            sides = [figures(one.agreement(side, ablation=truth)) for side in ("positions", "channels")]
            yield objective, layer, pool, *sides


def of_channels(picture: np.ndarray) -> Iterable[Iterable[Any]]:
    """The channels of mixed4d that speak most for one class over the other, and against it."""
    both = f"{DOG} - {CAT}"
    one, truth = attribute(both, picture, "mixed4d"), attribute(both, picture, "mixed4d", method="ablation")
    for channel in one.strongest(5):
        yield channel, f"{one.channels[channel]:+.2f}", f"{truth.channels[channel]:+.2f}"
    yield "all 528", "Pearson", f"{one.agreement(ablation=truth).pearson:.3f}"


def of_times(picture: np.ndarray) -> Iterable[Iterable[Any]]:
    """Seconds of each function."""
    calls: dict[str, Callable[[], Any]] = {
        "attribute, mixed4d, gradient": lambda: attribute(DOG, picture, "mixed4d"),
        "attribute, mixed4d, integrated, 32 steps": lambda: attribute(DOG, picture, "mixed4d", method="integrated"),
        "attribute, mixed4d, ablation, 528 + 196": lambda: attribute(DOG, picture, "mixed4d", method="ablation"),
        "relate, mixed4c to mixed4d, channels, 528 x 512": lambda: lj.relate(
            picture, "mixed4c", "mixed4d", model=MODEL, progress=False
        ),
        "relate, mixed4d to mixed5a, positions, 49 x 196": lambda: lj.relate(
            picture, "mixed4d", "mixed5a", by="positions", model=MODEL, progress=False
        ),
        "class_attribution, mixed4d": lambda: lj.class_attribution(picture, "mixed4d", (6, 7), model=MODEL),
        "grad_cam, mixed5b": lambda: lj.grad_cam(DOG, picture, layer="mixed5b", model=MODEL),
        "saliency, 25 draws": lambda: lj.saliency(DOG, picture, model=MODEL),
    }
    for name, call in calls.items():
        call()
        start = time.process_time()
        call()
        yield name, f"{time.process_time() - start:.2f}"


def main() -> None:
    """Print the tables."""
    global MODEL
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", help="file with a golden retriever and a tiger cat")
    picture = squeezed(parser.parse_args().picture)
    MODEL = lj.load_model()
    four = "Pearson / Spearman / slope / shared"
    head = ("layer", "gap over difference", "`gap`", "sum of gradient", f"gradient: {four}", f"integrated: {four}")
    table(f"{DOG}, channels against ablation", head, of_layers(picture))
    table(f"{DOG} - {CAT}, mixed4d", ("channel", "gradient", "ablation"), of_channels(picture))
    rules = ("objective", "layer", "pool", f"positions: {four}", f"channels: {four}")
    table("Rules of max pools against ablation", rules, of_rules(picture))
    relation = lj.relate(picture, "mixed4c", "mixed4d", model=MODEL, progress=False)
    shares, bias, whole = relation.values[220].sum(), relation.bias[220], relation.outputs[220]
    print(f"\nmixed4c to channel 220 of mixed4d: {shares:.1f} + {bias:.1f} = {whole:.1f}")
    table("Seconds of the processor", ("call", "seconds"), of_times(picture))


if __name__ == "__main__":
    main()
