"""Networks of torchvision, converted, against PyTorch: `python -m benchmarks.any_network [NAME ...]`.

lightjax makes whole steps of `visualize`: image, transforms, network forward and backward to a layer, optimizer.
PyTorch has the network alone, on the same 224 pixels: forward, cut at the layer, and backward to the picture, channels
first and channels last, of which the faster counts. "lucent" is its loop's share: the whole network,
hooked, with weights that want gradients. The
contenders run in turn, in one process, with random weights; read the ratios of the medians. PyTorch's two threads wait
for each other at every operation, so that other processes slow it tenfold: `--busy` measures one thread of each.
"""

import argparse
import contextlib
import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch
from torch import Tensor, nn

import lightjax as lj
from benchmarks import torch_loops
from tests.networks import zoo

SIZE, STEPS, CHANNEL = 224, 4, 7
CLOCK = [time.perf_counter]
"""The clock; the processor's time on a busy machine."""


class Case(NamedTuple):
    """A network and its layer, and the ratios of lightjax's time that are wanted."""

    layer: str
    over_cut: float
    over_lucent: float | None = None


CASES = {
    "resnet50": Case("layer3.5", 0.9, 0.5),
    "googlenet": Case("inception4d", 0.9),
    "efficientnet_b0": Case("features.5", 0.9),
    "vgg16": Case("features.21", 1.1),
    "convnext_tiny": Case("features.5", 1.1),
    "vit_b_16": Case("encoder.layers.encoder_layer_8", 1.1),
}
INCEPTION, INCEPTION_LAYER, OVER_INCEPTION = "inception_v1", "mixed4d", 1.1


class _Reached(Exception):
    """The layer has been computed; nothing after it is wanted."""


def torch_gradient(net: nn.Module, layer: str, *, whole: bool, channels_last: bool) -> Callable[[], float]:
    """Seconds of the gradient of a channel by a picture, the network cut at the layer, or whole and hooked."""
    net.requires_grad_(whole)  # Lucent leaves a network as it comes, and so computes gradients by its weights too
    form = torch.channels_last if channels_last else torch.contiguous_format
    picture = torch.rand(1, 3, SIZE, SIZE).to(memory_format=form).requires_grad_()
    found: dict[str, Tensor] = {}

    def remember(name: str) -> Callable:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found[name] = output
            if not whole:
                raise _Reached

        return hook

    def gradient() -> float:
        net.to(memory_format=form)  # type: ignore[call-overload]  # costs nothing where it already is
        hooked = net.named_modules() if whole else [(layer, net.get_submodule(layer))]
        handles = [module.register_forward_hook(remember(name)) for name, module in hooked]
        start = CLOCK[0]()
        picture.grad = None
        with contextlib.suppress(_Reached):
            net(picture)
        of_channel = found[layer][:, CHANNEL] if found[layer].ndim == 4 else found[layer][..., CHANNEL]
        (-of_channel.mean()).backward()
        seconds = CLOCK[0]() - start
        found.clear()
        for handle in handles:
            handle.remove()
        return seconds

    return gradient


def lightjax_steps(model: Any, layer: str, size: int = SIZE) -> Callable[[], float]:
    """Seconds of a step of `visualize`, the network seeing as many pixels as PyTorch's."""
    transform = lj.transforms.compose(lj.transforms.DEFAULT, lj.transforms.CropOrPad(size))
    setup = lj.Recipe.of(model=model, size=size, transform=transform).setup
    key, objective = jax.random.key(0), lj.channel(layer, CHANNEL)
    state = lj.optimize.init(key, setup)

    def step() -> float:
        start = CLOCK[0]()
        jax.block_until_ready(lj.optimize.advance(state, setup, objective, key, STEPS))
        return (CLOCK[0]() - start) / STEPS

    return step


def medians(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Milliseconds of each contender; they run in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(1000 * run())
    return {name: statistics.median(of_one) for name, of_one in times.items()}


def compiled(run: Callable[[], float]) -> float:
    """Seconds that the first call takes more than the second."""
    start = CLOCK[0]()
    run()
    seconds = CLOCK[0]() - start
    return seconds - STEPS * run()


def converted(net: nn.Module) -> tuple[lj.networks.ConvertedNetwork, float]:
    """The network in JAX, and the megabytes of its file."""
    model = lj.from_torch(net, size=SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), check=False)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "net.safetensors"))
        return model, Path(folder, "net.safetensors").stat().st_size / 1e6


def row(name: str, rounds: int) -> str:
    """A row of the table."""
    case, net = CASES[name], zoo.whole("torchvision", name).requires_grad_(False)
    model, megabytes = converted(net)
    contenders = {"lightjax": lightjax_steps(model, case.layer)}
    seconds = compiled(contenders["lightjax"])
    for form in ("first", "last"):
        contenders[form] = torch_gradient(net, case.layer, whole=False, channels_last=form == "last")
    if case.over_lucent:
        contenders["lucent"] = torch_gradient(copy.deepcopy(net), case.layer, whole=True, channels_last=False)
    for run in contenders.values():
        run()
    found = medians(contenders, rounds)
    over = found["lightjax"] / min(found["first"], found["last"])
    lucent = f"{found['lightjax'] / found['lucent']:.2f} ({case.over_lucent})" if case.over_lucent else ""
    cells = [f"{name} {case.layer}", f"{found['lightjax']:.1f}", f"{found['first']:.1f} / {found['last']:.1f}"]
    cells += [f"{over:.2f} ({case.over_cut})", lucent, f"{seconds:.1f}", f"{megabytes:.0f}"]
    return f"| {' | '.join(cells)} |"


def row_of_inception(rounds: int) -> str:
    """The GoogLeNet that comes with lightjax, converted from PyTorch, against the network written by hand."""
    net = torch_loops.GoogLeNet(torch_loops.random_state())
    for module in net.modules():
        for part, child in module.named_children():
            if isinstance(child, torch_loops.Rectifier):
                setattr(module, part, nn.ReLU())
    model, megabytes = converted(net.eval())
    contenders = {
        "converted": lightjax_steps(model, f"stages.{INCEPTION_LAYER}"),
        "by hand": lightjax_steps(lj.load_model(), INCEPTION_LAYER),
    }
    seconds = compiled(contenders["converted"])
    contenders["by hand"]()
    found = medians(contenders, rounds)
    over = found["converted"] / found["by hand"]
    cells = [f"InceptionV1 {INCEPTION_LAYER}", f"{found['converted']:.1f}", f"by hand {found['by hand']:.1f}"]
    cells += [f"{over:.2f} ({OVER_INCEPTION})", "", f"{seconds:.1f}", f"{megabytes:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*CASES, INCEPTION))}; default all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", action="store_true", help="one thread on one core, by the processor's time")
    given = parser.parse_args()
    torch.set_num_threads(1 if given.busy else 2)
    if given.busy:
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
        CLOCK[0] = time.process_time
    torch.manual_seed(0)
    print(f"load {os.getloadavg()[0]:.1f}, {torch.__version__}, jax {jax.__version__}\n", file=sys.stderr)
    print("| network, layer | lightjax, ms | torch cut, first / last, ms | over the faster (target)", end="")
    print(" | over lucent (target) | compiles in, s | file, MB |\n|---|---|---|---|---|---|---|")
    for name in given.names or (*CASES, INCEPTION):
        print(row_of_inception(given.rounds) if name == INCEPTION else row(name, given.rounds), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
