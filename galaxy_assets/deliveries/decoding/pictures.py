"""PNG, JPEG, WebP and AVIF.

Belongs here: pictures of 8 and 16 bits per channel. Does not belong here: TIFF (`tiff`), planes and bands (`planes`).
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets.deliveries.decoding.planes import Choice, Planes, on_black
from galaxy_assets.deliveries.images import UnreadableImage, check_memory, check_size

if TYPE_CHECKING:
    from PIL.Image import Image

# bytes for each pixel while it is decoded: Pillow's own four, a copy, the array, and the coefficients of JPEG
_GREY, _COLOUR, _DEEP = 6, 20, 32


def layout(data: bytes, choice: Choice) -> Planes:
    """Rows, columns and channels, by the header."""
    image = _open(data)
    n = 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    return Planes(image.height, image.width, n, f"{image.width} x {image.height}", picture=True)


def decode(data: bytes, choice: Choice, file_size: int) -> np.ndarray:
    """The image; see `deliveries.images.decode`. Bands are not chosen: a picture has colours."""
    image = _open(data)
    check_size(*image.size)
    deep = image.format == "PNG" and data[24:25] == b"\x10"
    width, height = image.size
    colour_of_16 = deep and not image.mode.startswith("I")
    check_memory(
        width * height * (_DEEP if colour_of_16 else _GREY if image.mode in ("1", "L") else _COLOUR), file_size
    )
    if colour_of_16:
        return _sixteen_bits(data, (height, width))
    pixels = _plain_png(data, image)
    if pixels is not None:
        return pixels
    image.load()
    return _pixels(image)


def _open(data: bytes) -> "Image":
    """Open by content, reading the header alone.

    Not PIL.Image.open: it raises for a huge image before its size is known, so the catalogue could not record it, and
    it would hand a file to any of Pillow's other formats (PostScript starts an interpreter).
    """
    from PIL.AvifImagePlugin import AvifImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    kinds = {b"\x89PNG": PngImageFile, b"RIFF": WebPImageFile}
    opened = JpegImageFile if data.startswith(b"\xff\xd8\xff") else kinds.get(data[:4], AvifImageFile)
    return opened(io.BytesIO(data))


def _plain_png(data: bytes, image: "Image") -> np.ndarray | None:
    """The pixels of an 8-bit grey or colour PNG by kornia-rs: Pillow's, in less than half the time.

    None for any other image, and for a damaged one: Pillow says what is damaged or reads what can be read.
    """
    import kornia_rs

    bits = data[24:25]  # per channel, as the header says
    if image.format != "PNG" or bits != b"\x08" or image.mode not in ("L", "RGB") or "transparency" in image.info:
        return None
    try:
        pixels = kornia_rs.io.decode_image_png_u8(
            data, (image.height, image.width), "rgb" if image.mode == "RGB" else "mono"
        )
    except Exception:  # it raises no narrower class
        return None
    return pixels if image.mode == "RGB" else pixels[..., 0]


def _sixteen_bits(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """A PNG of 16 bits in colour or with transparency, of which Pillow keeps the upper eight."""
    import imagecodecs

    values = imagecodecs.png_decode(data)
    if values.shape[:2] != shape or values.dtype != np.uint16:
        raise UnreadableImage(f"its pixels are {values.dtype} {values.shape}, where its header says {shape}")
    values = values.reshape(*shape, -1)
    colours = values[..., 0] if values.shape[2] < 3 else values[..., :3]
    return on_black(colours, values[..., -1]) if values.shape[2] in (2, 4) else colours.astype(np.float32)


def _pixels(image: "Image") -> np.ndarray:
    if image.mode in ("L", "RGB"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode.startswith("I") or image.mode == "F":
        return np.array(image, dtype=np.float32)
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        return on_black(rgba[..., 0] if image.mode == "LA" else rgba[..., :3], rgba[..., 3])
    return np.array(image.convert("RGB"))
