"""Small images and masks on disk, shared by the tests of a user's own data."""

import numpy as np
from PIL import Image


def save(path, array, mode=None, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, dtype=np.uint8 if mode is None else mode))
    if palette:
        image = image.convert('P') if image.mode != 'L' else image
        image.putpalette([part for color in palette for part in color])
    image.save(path)


def mask(*values, size=(6, 8)):
    """A mask (H, W) of column stripes of the values."""
    return np.resize(np.array(values, dtype=np.uint8), size)
