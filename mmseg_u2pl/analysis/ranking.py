"""Which unlabeled images to label next: unsure, with rare classes, and unlike each other."""

from typing import NamedTuple

import numpy as np


class Seen(NamedTuple):
    """What a network says of N images."""

    entropy: np.ndarray  # (N,), mean over the pixels, as a share of ln C
    share: np.ndarray  # (N, C), of each class among the pixels
    features: np.ndarray  # (N, D), representations


class Ranked(NamedTuple):
    """An image in the order in which to label."""

    position: int  # among the N
    score: float  # in (0, 1]: mean of its places by entropy and by rarity among the N
    entropy: float
    rarity: float
    distance: float  # in [0, 1], to the nearest labeled or earlier one; 1 where there is none


def rank(seen: Seen, labeled: np.ndarray, num: int) -> list[Ranked]:
    """The first images to label, each the largest ``score`` · ``distance`` after those before it.

    The distance is that of greedy k-center (Sener & Savarese, ICLR 2018), here ½·(1 − cosine) of
    representations, weighted by how much a mask of the image alone promises. Rarity is the mean of
    −ln f_c over the pixels, f_c the share of a pixel's class among the labels of all N images.

    Args:
        seen: Of the unlabeled images.
        labeled: Representations (M, D) of images that have a mask; M may be 0.
        num: At most N.
    """
    rarity = -seen.share @ np.log(seen.share.mean(0).clip(1e-6))
    score = (_places(seen.entropy) + _places(rarity)) / 2
    features = _unit(seen.features)
    distance = np.ones(len(score))
    for center in _unit(labeled):
        distance = np.minimum(distance, (1 - features @ center) / 2)
    found: list[Ranked] = []
    left = np.ones(len(score), dtype=bool)
    for _ in range(min(num, len(score))):
        index = int(np.where(left, score * distance, -1).argmax())
        numbers = (float(values[index]) for values in (score, seen.entropy, rarity, distance))
        found.append(Ranked(index, *numbers))
        left[index] = False
        distance = np.minimum(distance, (1 - features @ features[index]) / 2)
    return found


def _places(values: np.ndarray) -> np.ndarray:
    """The share of the images with smaller values, and one more: in (0, 1]."""
    return (np.searchsorted(np.sort(values), values) + 1) / len(values)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)
