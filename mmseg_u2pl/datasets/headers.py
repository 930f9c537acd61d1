"""What the header of an image file says; no pixel is decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What PIL raises on files that are not whole images."""


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file as mmcv loads it: turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is not an image.
    """
    try:
        with Image.open(path) as image:
            # asking a PNG without EXIF would decode it; a TIFF's size is turned already
            exif = image.getexif() if 'exif' in image.info else {}
            turned = exif.get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            return image.size[::-1] if turned else image.size
    except FileNotFoundError:
        raise
    except READ_ERRORS as error:
        raise ValueError(f'cannot read the image {str(path)!r}: {error}') from error


def require_size(
    mask: str | Path, size: tuple[int, int], image: str | Path, expected: tuple[int, int]
) -> None:
    """A mask has the width and height of its image.

    Raises:
        ValueError: It has not; names both files and sizes.
    """
    if tuple(size) != tuple(expected):
        raise ValueError(
            f'mask {str(mask)!r} is {size[0]}x{size[1]} pixels, but its image {str(image)!r} '
            f'{expected[0]}x{expected[1]} (EXIF orientation applied): they must be the same size'
        )
