"""Contact sheets: channels of `mini` beside the teacher's channels that they were matched with."""

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import lightjax as lj
from lightjax import inception
from lightjax.inception import MINI

LAYERS = ("mixed3b", "mixed4a", "mixed4c", "mixed5a")


def render(model: str, layer: str, channels: np.ndarray, steps: int, size: int) -> np.ndarray:
    """Pictures `[N, size, size, 3]` of some channels of a layer, each optimised on its own."""
    goals = [lj.channel(layer, int(channel), batch=i) for i, channel in enumerate(channels)]
    image = lj.fourier_image(size, batch=len(channels))
    return lj.visualize(sum(goals), model=lj.load_model(model), image=image, steps=steps, progress=False).images


def grid(pictures: np.ndarray, columns: int, side: int, gap: int = 2) -> Image.Image:
    """Pictures in rows on white, each `side` pixels wide."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for i, picture in enumerate(pictures):
        small = Image.fromarray(np.uint8(255 * picture)).resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (gap + i % columns * (side + gap), gap + i // columns * (side + gap)))
    return sheet


def main() -> None:
    """Read the command line, render, and write one sheet; renders are kept in a folder and used again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the sheet to write, a PNG file")
    parser.add_argument("plan", type=Path, help="plan.npz that prepare.py wrote")
    parser.add_argument("models", nargs="+", help="weights files, one column of the sheet for each")
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--side", type=int, default=96, help="pixels of one picture on the sheet")
    parser.add_argument("--colors", type=int, default=0, help="size of the palette, for a smaller file")
    parser.add_argument("--keep", type=Path, help="folder for finished renders")
    args = parser.parse_args()
    plan = dict(np.load(args.plan))
    columns = int(np.ceil(np.sqrt(args.count)))
    blocks = []
    for layer in args.layers:
        width = next(node.channels for node in inception.graph(MINI) if node.name == layer)
        ours = np.sort(np.random.default_rng(0).choice(width, args.count, replace=False))
        for path in args.models:
            mini = lj.load_model(path).architecture == MINI
            channels = ours if mini else plan[f"{layer}/channels"][ours]
            stem = os.path.basename(os.path.dirname(os.path.abspath(path))) + "-" + Path(path).stem
            kept = args.keep and args.keep / f"{stem}-{layer}-{args.count}-{args.steps}-{args.size}.npy"
            if kept and kept.exists():
                pictures = np.load(kept)
            else:
                pictures = render(path, layer, channels, args.steps, args.size)
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    np.save(kept, pictures)
            blocks.append((f"{layer}, {Path(path).stem}", grid(pictures, columns, args.side)))
    width, height = blocks[0][1].size
    across = len(args.models)
    sheet = Image.new("RGB", (across * (width + 8), len(blocks) // across * (height + 16)), "white")
    for i, (title, block) in enumerate(blocks):
        place = (i % across * (width + 8), i // across * (height + 16))
        ImageDraw.Draw(sheet).text((place[0] + 3, place[1] + 2), title, fill="black")
        sheet.paste(block, (place[0], place[1] + 14))
    if args.colors:
        sheet = sheet.quantize(args.colors)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
