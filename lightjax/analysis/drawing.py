"""Drawings of what was read from a network: maps in two colors, bars, captions, and pictures side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_NEGATIVE = np.array([[5, 113, 176], [146, 197, 222]], np.float32) / 255
_NEUTRAL = np.array([[247, 247, 247]], np.float32) / 255
_POSITIVE = np.array([[244, 165, 130], [202, 0, 32]], np.float32) / 255
SCALE = np.concatenate([_NEGATIVE, _NEUTRAL, _POSITIVE])
"""Blue for negative numbers, nearly white for 0, red for positive ones: ColorBrewer's RdBu, as Captum has it."""
_INK = (40, 40, 40)


def colored(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Signed numbers `[h, w]` as colors `[h, w, 3]`: red where positive, blue where negative, nearly white at 0.

    Args:
      values: The numbers.
      largest: The size of a number with full color; by default the largest one. Larger ones have full color, too.
    """
    x = _scaled(values, largest)
    return np.stack([np.interp(x, np.linspace(-1, 1, 5), SCALE[:, i]) for i in range(3)], -1).astype(np.float32)


def over(picture: np.ndarray, values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """A picture `[H, W, C]` in gray with signed numbers `[h, w]` over it, red where positive, blue where negative."""
    strength = _scaled(values, largest)
    colors = np.where(strength[..., None] < 0, _NEGATIVE[0], _POSITIVE[1])
    size = picture.shape[:2]
    colors, opacity = resized(colors, size, smooth=False), resized(np.abs(strength)[..., None], size, smooth=False)
    gray = 0.35 + 0.65 * np.repeat(picture[..., :3].mean(-1, keepdims=True), 3, -1)
    return np.clip(gray + 0.85 * opacity * (colors - gray), 0, 1).astype(np.float32)


def resized(picture: np.ndarray, size: tuple[int, int], smooth: bool = True) -> np.ndarray:
    """A picture `[H, W, C]` in another size, (height, width)."""
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize((size[1], size[0]), how))
        for plane in np.moveaxis(picture, -1, 0)
    ]
    return np.clip(np.stack(planes, -1), 0, 1)


def enlarged(picture: np.ndarray, least: int = 224) -> np.ndarray:
    """A picture `[H, W, C]` whose longer side has `least` pixels or more; it grows by a whole factor, in squares."""
    factor = -(-least // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def captioned(picture: np.ndarray, caption: str, points: int = 13) -> np.ndarray:
    """A picture `[H, W, C]` with a caption below, on white; the caption may have several lines."""
    picture = in_color(picture)
    lines = caption.split("\n")
    font = ImageFont.load_default(points)
    width = max(picture.shape[1], *(int(np.ceil(font.getlength(line))) + 2 for line in lines))
    strip = Image.new("RGB", (width, len(lines) * (points + 5) + 4), "white")
    draw = ImageDraw.Draw(strip)
    for i, line in enumerate(lines):
        draw.text((1, 2 + i * (points + 5)), line, _INK, font)
    below = np.asarray(strip, np.float32) / 255
    return np.concatenate([_widened(picture, width), below])


def bars(names: Sequence[str], values: Sequence[float], width: int = 280, points: int = 13) -> np.ndarray:
    """Horizontal bars with names and numbers, red to the right for positive numbers, blue for negative ones."""
    font = ImageFont.load_default(points)
    line = points + 8
    numbers = [f"{value:+.3g}" for value in values]
    room = max((font.getlength(text) for text in [*names, *numbers]), default=0)
    canvas = Image.new("RGB", (int(room * 2) + width + 24, max(line * len(names), 1)), "white")
    draw = ImageDraw.Draw(canvas)
    largest = max((abs(value) for value in values), default=0) or 1
    low = min(0.0, *values) if len(values) else 0.0
    high = max(0.0, *values) if len(values) else 0.0
    scale = width / max(high - low, largest)
    zero = room + 12 - low * scale
    for i, (name, value, text) in enumerate(zip(names, values, numbers, strict=True)):
        top = i * line
        draw.text((2, top + 2), name, _INK, font)
        color = tuple(int(255 * c) for c in (_POSITIVE[1] if value > 0 else _NEGATIVE[0]))
        ends = sorted((zero, zero + value * scale))
        draw.rectangle((ends[0], top + 2, ends[1], top + line - 4), fill=color)
        draw.text((room + 18 + width, top + 2), text, _INK, font)
    return np.asarray(canvas, np.float32) / 255


def beside(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Pictures of any sizes in a row, on white, aligned at the top."""
    pictures = [in_color(picture) for picture in pictures]
    height = max(picture.shape[0] for picture in pictures)
    space = np.ones((height, gap, 3), np.float32)
    parts: list[np.ndarray] = []
    for picture in pictures:
        blank = np.ones((height - picture.shape[0], picture.shape[1], 3), np.float32)
        parts += [space, np.concatenate([picture, blank])]
    return np.concatenate(parts[1:], axis=1)


def stacked(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Pictures of any sizes in a column, on white, aligned at the left."""
    pictures = [in_color(picture) for picture in pictures]
    width = max(picture.shape[1] for picture in pictures)
    space = np.ones((gap, width, 3), np.float32)
    parts: list[np.ndarray] = []
    for picture in pictures:
        parts += [space, _widened(picture, width)]
    return np.concatenate(parts[1:])


def in_color(picture: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 1 or 3]` as `[H, W, 3]`."""
    return np.repeat(picture, 3, -1) if picture.shape[-1] == 1 else picture[..., :3]


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    blank = np.ones((picture.shape[0], width - picture.shape[1], 3), np.float32)
    return np.concatenate([picture, blank], axis=1)


def _scaled(values: np.ndarray, largest: float | None) -> np.ndarray:
    """Numbers divided by the size of the largest one, in [-1, 1]."""
    values = np.asarray(values, np.float32)
    largest = float(np.abs(values).max(initial=0)) if largest is None else largest
    return np.clip(values / (largest or 1), -1, 1)
