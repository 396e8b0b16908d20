"""Pictures in and out: PNG files that remember how they were made, and sheets of several pictures."""

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from lightjax import files

_KEY = "lightjax"


def to_bytes(image: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 3]` in [0, 1] as `uint8`, rounded to the nearest grey level.

    Raises:
      ValueError: If it has another shape, or values that are not numbers in [0, 1].
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"a picture is [H, W, 3], not {list(image.shape)}")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError("a picture has values in [0, 1]; this one has others, or some that are not numbers")
    return np.round(image * 255).astype(np.uint8)


def sheet(images: np.ndarray, columns: int | None = None, gap: int = 4) -> np.ndarray:
    """Several pictures of one size on one white sheet, row by row.

    Args:
      images: `[N, H, W, 3]` in [0, 1].
      columns: Pictures in a row; by default about as many as there are rows.
      gap: White pixels between them.

    Returns:
      One picture `[H', W', 3]`; for N = 1 the picture itself.
    """
    images = np.asarray(images)
    number, height, width, _ = images.shape
    columns = min(columns or int(np.ceil(np.sqrt(number))), number)
    rows = -(-number // columns)
    result = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        result[top : top + height, left : left + width] = image
    return result


def encode(image: np.ndarray, format: str = "PNG", settings: dict | None = None) -> bytes:
    """A picture `[H, W, 3]` in [0, 1] as the bytes of a file.

    Args:
      image: The picture.
      format: A name that Pillow knows, such as "PNG", "JPEG" or "WEBP".
      settings: What to write into the metadata of a PNG, as JSON; other formats do not carry it.
    """
    buffer = io.BytesIO()
    options: dict = {} if format == "PNG" else {"quality": 95}
    if format == "PNG" and settings is not None:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(_KEY, json.dumps(settings))
    Image.fromarray(to_bytes(image)).save(buffer, format, **options)
    return buffer.getvalue()


def file_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format that a file name asks for.

    Raises:
      ValueError: If its ending is none that pictures are saved under here.
    """
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise ValueError(f"cannot tell the format of {str(path)!r}: name a picture {', '.join(formats)}")
    return formats[suffix]


def save(path: str | os.PathLike, image: np.ndarray, settings: dict | None = None) -> None:
    """Write a picture `[H, W, 3]` in [0, 1], whole or not at all.

    Args:
      path: A file ending in .png, .jpg, .jpeg or .webp.
      image: The picture.
      settings: How it was made; a PNG keeps them, and `read_settings` reads them back.

    Raises:
      ValueError: If the ending or the picture is wrong.
      OSError: If the file cannot be written.
    """
    files.write_whole(path, encode(image, file_format(path), settings))


def read_settings(path: str | os.PathLike) -> dict:
    """The settings that `save` wrote into a PNG.

    Raises:
      ValueError: If it is not a picture, or holds none.
      FileNotFoundError: If there is no such file.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            text = getattr(picture, "text", {}).get(_KEY)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow raises many types for damaged files
        raise ValueError(f"{path} is not a readable picture") from error
    if text is None:
        raise ValueError(f"{path} does not say how it was made: it is not a PNG that lightjax saved")
    return json.loads(text)
