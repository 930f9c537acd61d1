"""From a user's folder of images and masks to a config that trains on it."""

from .choices import NETWORKS, Choice, choose
from .colors import parse_colors
from .lists import OwnLists, draw_lists
from .reading import Images, OwnMasks, measure_normalization, read_images, read_own_masks
from .recipes import METHODS
from .writing import config_name, config_texts, write_configs

__all__ = [
    'METHODS',
    'NETWORKS',
    'Choice',
    'Images',
    'OwnLists',
    'OwnMasks',
    'choose',
    'config_name',
    'config_texts',
    'draw_lists',
    'measure_normalization',
    'parse_colors',
    'read_images',
    'read_own_masks',
    'write_configs',
]
