"""Load and save pictures, lay them out on sheets, and keep the settings of a render in PNG files."""

import io
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from lightjax import _checks, _files

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Formats that pictures are saved in, by the ending of the file name: Pillow's names."""

_WRITTEN = tuple(dict.fromkeys(FORMATS.values()))
_KEY = "lightjax"
_LONGEST = 1_000_000
"""Most characters of the settings that a file may have."""
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def load_picture(
    path: str | os.PathLike, size: int | tuple[int, int] | None = None, *, gray: bool = False
) -> np.ndarray:
    """Read a picture as RGB or in gray, and optionally fit it to a size.

    The picture is turned upright if its EXIF data say so, and converted to red, green and blue. Transparent parts are
    shown over white. Grays of 16 bits are divided by 65535; grays in floating point must be in [0, 1].

    Args:
      path: A file that Pillow can read.
      size: Size of the result in pixels: one number for a square, or (height, width). The picture is scaled until it
        just covers this size, then cropped to its center. None keeps the size of the file.
      gray: Whether to return one channel, 0.299 red + 0.587 green + 0.114 blue.

    Returns:
      The picture, `[H, W, 3]` float32 in [0, 1], or `[H, W, 1]` if `gray`.

    Raises:
      TypeError: If the size is not one or two whole numbers.
      ValueError: If the file is not a picture, if its values have no known scale, or if the size is less than 1.
      OSError: If the file does not exist or cannot be opened.
    """
    path, gray = _checks.path(path, "path"), _checks.flag(gray, "gray")
    fit = None if size is None else _checks.height_and_width(size)
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} has too many pixels to be opened safely ({error}); save a smaller copy") from None
    except (UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not a readable picture") from error
    except OSError as error:
        if error.errno is not None:  # Pillow's own errors, for damaged files, have no number
            raise
        reason = "it is cut short; save it again in a viewer" if "truncated" in str(error) else str(error)
        raise ValueError(f"{path} is not a readable picture: {reason}") from error
    planes = _planes(picture, path)
    if fit is not None:
        planes = [ImageOps.fit(plane, (fit[1], fit[0]), Image.Resampling.BICUBIC) for plane in planes]
    if planes[0].mode == "RGB":
        colors = np.asarray(planes[0], np.float32) / 255
        return (colors @ _LUMINANCE)[..., None] if gray else colors
    one = np.clip(np.asarray(planes[0], np.float32), 0, 1)[..., None]  # bicubic interpolation may overshoot
    return one if gray else np.repeat(one, 3, axis=-1)


def _planes(picture: Image.Image, path: str | os.PathLike) -> list[Image.Image]:
    """A picture as one RGB image of 8 bits, or as one plane of floats in [0, 1] if it has more than 8 bits.

    Raises:
      ValueError: If Pillow cannot convert it, or its values have no known scale.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.float64)
        whole = picture.mode != "F"
        largest = 65535 if whole else 1
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= largest):
            expected = "16-bit grays from 0 to 65535" if whole else "floats from 0 to 1"
            raise ValueError(f"{path} must have {expected}, but has values from {values.min():g} to {values.max():g}")
        return [Image.fromarray((values / largest).astype(np.float32), mode="F")]
    try:
        if picture.mode in ("La", "RGBa"):  # colors multiplied by the opacity
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return [picture.convert("RGB")]
    except ValueError as error:
        raise ValueError(f"{path} has the color mode {picture.mode}, which Pillow cannot convert: {error}") from None


def find_pictures(folder: str | os.PathLike) -> list[Path]:
    """All pictures (.png, .jpg, .jpeg, .webp) in a folder and the folders in it, in the order of their paths.

    Files and folders whose names begin with a dot are left out.

    Raises:
      NotADirectoryError: If there is no such folder.
      ValueError: If there are no pictures in it.
    """
    folder = _checks.path(folder, "folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {_checks.in_a_line(folder)}")
    files = (file for file in folder.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
    found = sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts))
    if not found:
        raise ValueError(f"there are no pictures ({', '.join(FORMATS)}) in {_checks.in_a_line(folder)}")
    return found


def check_shown(shape: tuple[int, ...]) -> None:
    """Check that files and screens can show pictures of a shape: in gray, in color, or in color with opacity.

    Raises:
      ValueError: If the number of channels is not 1, 3 or 4.
    """
    shape = tuple(_checks.whole(side, "shape", least=0) for side in _checks.several(shape, "shape", "numbers"))
    if len(shape) >= 3 and shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"pictures of {shape[-1]} channels cannot be shown, {list(shape)}: choose one or three of them, as in "
            "pictures.save(file, result.image[..., [2, 1, 0]])"
        )


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Round a picture `[H, W, 1, 3 or 4]` in [0, 1] to `uint8`, 0 to 255.

    Raises:
      ValueError: If the picture has another shape, or values that are not in [0, 1].
    """
    image = _checks.array(image, "a picture")
    check_shown(image.shape)
    if image.ndim != 3:
        raise ValueError(f"a picture must be [H, W, 3], or [H, W, 4] with opacity, got {list(image.shape)}")
    if not (image.size and np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"a picture must have values in [0, 1], got {_extremes(image)}")
    return np.round(image * 255).astype(np.uint8)


def _extremes(image: np.ndarray) -> str:
    return f"{image.min()} to {image.max()}" if image.size else "none at all"


def sheet(images: np.ndarray, columns: int | None = None, gap: int = 4) -> np.ndarray:
    """Lay out pictures of one size on a white sheet, row by row.

    Args:
      images: `[N, H, W, 3]` in [0, 1], `[N, H, W, 1]` in gray, or `[N, H, W, 4]` with opacity; at least one.
      columns: Number of pictures in a row; by default `ceil(sqrt(N))`.
      gap: White pixels between the pictures.

    Returns:
      One picture `[H', W', C]`; for N = 1 the picture itself.

    Raises:
      TypeError: If `columns` or `gap` is not a whole number.
      ValueError: If the pictures have another shape, `columns` is less than 1 or `gap` less than 0.
    """
    images = _checks.array(images, "images")
    check_shown(images.shape)
    if images.ndim != 4 or not len(images):
        raise ValueError(f"the pictures of a sheet must be [N, H, W, 1, 3 or 4], got {list(images.shape)}")
    if columns is not None:
        _checks.whole(columns, "columns", least=1)
    _checks.whole(gap, "gap", least=0)
    number, height, width, channels = images.shape
    columns = min(columns or int(np.ceil(np.sqrt(number))), number)
    rows = -(-number // columns)
    result = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        result[top : top + height, left : left + width] = image
    return result


def encode(image: np.ndarray, format: str = "PNG", settings: dict | None = None) -> bytes:
    """Encode a picture `[H, W, 3]` in [0, 1], `[H, W, 1]` in gray, or `[H, W, 4]` with opacity.

    Args:
      image: The picture. JPEG has no transparency and shows the picture over white.
      format: Pillow's name of the format, such as "PNG", "JPEG" or "WEBP".
      settings: Metadata to write into a PNG as JSON; other formats leave them out.

    Returns:
      The bytes of a file.

    Raises:
      ValueError: If the picture has another shape, or values that are not in [0, 1].
    """
    _checks.one_of(format, _WRITTEN, "format")
    buffer = io.BytesIO()
    options: dict = {} if format == "PNG" else {"quality": 95}
    if format == "PNG" and settings is not None:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt(_KEY, _written(settings))
    image = _checks.array(image, "image")
    if format == "JPEG" and image.shape[-1] == 4:
        image = 1 - image[..., 3:] * (1 - image[..., :3])
    values = to_bytes(image)
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(buffer, format, **options)
    return buffer.getvalue()


def _written(settings: Any) -> str:
    """Settings as JSON.

    Raises:
      TypeError: If they are no dictionary, or JSON cannot hold them.
    """
    try:
        if isinstance(settings, dict):
            return json.dumps(settings)
    except (TypeError, ValueError, RecursionError):
        pass
    raise TypeError(f"settings must be a dictionary that JSON can hold, got {_checks.shown(settings)}")


def file_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format that belongs to the ending of a file name.

    Raises:
      ValueError: If there is no ending, or it is not in `FORMATS`.
    """
    suffix = _checks.path(path, "path").suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot tell the format of {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    return FORMATS[suffix]


def save(path: str | os.PathLike, image: np.ndarray, settings: dict | None = None) -> None:
    """Write a picture `[H, W, 1, 3 or 4]` in [0, 1] to a file, atomically.

    Args:
      path: A file name ending in .png, .jpg, .jpeg or .webp. JPEG has no transparency and shows the picture over white.
      image: The picture; a fourth channel is its opacity.
      settings: How the picture was made. A PNG keeps them for `read_settings`.

    Raises:
      ValueError: If the ending of the file name, or the shape or a value of the picture, is wrong.
      OSError: If the file cannot be written.
    """
    _files.write_atomically(path, encode(image, file_format(path), settings))


def read_settings(path: str | os.PathLike) -> dict:
    """Read the settings that `save` wrote into a PNG.

    Raises:
      ValueError: If the file is not a picture, or has no settings, or settings that are too long or too deep.
      OSError: If the file does not exist or cannot be opened.
    """
    path = _checks.path(path, "path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pictures with many pixels
            with Image.open(path) as picture:
                text = picture.info.get(_KEY)
                if text is None:  # other programs may write it after the pixels
                    picture.load()
                    text = getattr(picture, "text", {}).get(_KEY)
    except Exception as error:  # Pillow raises many types for damaged files
        if isinstance(error, OSError) and error.errno is not None:  # the file is not there, or may not be read
            raise
        raise ValueError(f"{path} is not a readable picture") from error
    if not isinstance(text, str):
        raise ValueError(f"{path} does not say how it was made: it is not a PNG that lightjax saved")
    if len(text) > _LONGEST:
        raise ValueError(f"the settings in {path} have {len(text)} characters, and the most are {_LONGEST}")
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "they are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"the settings in {path} cannot be read: {reason}") from None
    if not isinstance(settings, dict):
        raise ValueError(
            f"the settings in {path} were not written by lightjax: they are {_checks.shown(settings, 100)}"
        )
    return settings
