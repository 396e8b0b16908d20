"""Pictures in and out: PNG files that remember how they were made, and sheets of several pictures."""

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from lightjax import _files

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Pillow's names of the formats that pictures are saved in, by the ending of the file name."""

_KEY = "lightjax"


def load_picture(path: str | os.PathLike, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture, upright as its camera meant it, and fit it to a size.

    Args:
      path: A file that Pillow can read.
      size: Pixels, one number for a square or (height, width): the picture is scaled, its proportions kept, until it
        just covers that size, and its middle is cut out. None leaves it as it is.

    Returns:
      The picture, `[H, W, 3]` float32 in [0, 1]: grey and other colours turned into red, green and blue, transparent
      parts over white.

    Raises:
      ValueError: If it is not a picture, or the size is wrong.
      FileNotFoundError: If there is no such file.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            picture = picture.convert("RGB")
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable picture") from error
    except OSError as error:
        if error.errno is not None:  # no such file, no permission; otherwise Pillow's own, for damaged files
            raise
        raise ValueError(f"{path} is not a readable picture") from error
    if size is not None:
        height, width = (size, size) if isinstance(size, int | np.integer) else size
        if height < 1 or width < 1:
            raise ValueError(f"size is a positive number of pixels or a pair (height, width) of them, not {size!r}")
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) / 255


def find_pictures(folder: str | os.PathLike) -> list[Path]:
    """All pictures (.png, .jpg, .jpeg, .webp) in a folder and the folders in it, in the order of their paths.

    Files and folders whose names begin with a dot are left out.

    Raises:
      NotADirectoryError: If there is no such folder.
      ValueError: If there are no pictures in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    files = (file for file in folder.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
    found = sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts))
    if not found:
        raise ValueError(f"there are no pictures ({', '.join(FORMATS)}) in {folder}")
    return found


def to_bytes(image: np.ndarray) -> np.ndarray:
    """A picture `[H, W, 3 or 4]` in [0, 1] as `uint8`, rounded to the nearest grey level.

    Raises:
      ValueError: If it has another shape, or values that are not numbers in [0, 1].
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (3, 4):
        raise ValueError(f"a picture is [H, W, 3], or [H, W, 4] with transparency, not {list(image.shape)}")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError("a picture has values in [0, 1]; this one has others, or some that are not numbers")
    return np.round(image * 255).astype(np.uint8)


def sheet(images: np.ndarray, columns: int | None = None, gap: int = 4) -> np.ndarray:
    """Several pictures of one size on one white sheet, row by row.

    Args:
      images: `[N, H, W, 3]` in [0, 1], or `[N, H, W, 4]` with transparency.
      columns: Pictures in a row; by default about as many as there are rows.
      gap: White pixels between them.

    Returns:
      One picture `[H', W', 3 or 4]`; for N = 1 the picture itself.
    """
    images = np.asarray(images)
    number, height, width, channels = images.shape
    columns = min(columns or int(np.ceil(np.sqrt(number))), number)
    rows = -(-number // columns)
    result = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        result[top : top + height, left : left + width] = image
    return result


def encode(image: np.ndarray, format: str = "PNG", settings: dict | None = None) -> bytes:
    """A picture `[H, W, 3 or 4]` in [0, 1] as the bytes of a file.

    Args:
      image: The picture; a fourth channel is its opacity. JPEG has no transparency and shows the picture over white.
      format: A name that Pillow knows, such as "PNG", "JPEG" or "WEBP".
      settings: What to write into the metadata of a PNG, as JSON; other formats do not carry it.
    """
    buffer = io.BytesIO()
    options: dict = {} if format == "PNG" else {"quality": 95}
    if format == "PNG" and settings is not None:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(_KEY, json.dumps(settings))
    image = np.asarray(image)
    if format == "JPEG" and image.shape[-1] == 4:
        image = 1 - image[..., 3:] * (1 - image[..., :3])
    Image.fromarray(to_bytes(image)).save(buffer, format, **options)
    return buffer.getvalue()


def file_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format that a file name asks for.

    Raises:
      ValueError: If its ending is none that pictures are saved under here.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot tell the format of {str(path)!r}: name a picture {', '.join(FORMATS)}")
    return FORMATS[suffix]


def save(path: str | os.PathLike, image: np.ndarray, settings: dict | None = None) -> None:
    """Write a picture `[H, W, 3 or 4]` in [0, 1], whole or not at all.

    Args:
      path: A file ending in .png, .jpg, .jpeg or .webp; only the JPEGs lose transparency, over white.
      image: The picture.
      settings: How it was made; a PNG keeps them, and `read_settings` reads them back.

    Raises:
      ValueError: If the ending or the picture is wrong.
      OSError: If the file cannot be written.
    """
    _files.write_atomically(path, encode(image, file_format(path), settings))


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
