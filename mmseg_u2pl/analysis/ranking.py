"""Which unlabeled images to label next: one of each kind that has no mask yet."""

from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2


class Ranked(NamedTuple):
    """An image in the order in which to label."""

    position: int  # among the N unlabeled images
    cluster: int
    unlabeled: int  # images of the cluster without a mask
    labeled: int  # images of the cluster with a mask
    distance: float  # to the center of the cluster, of vectors of length 1


def rank(features: np.ndarray, num_labeled: int, num: int) -> list[Ranked]:
    """The images to label, typical and unlike each other (TypiClust, Hacohen et al., ICML 2022).

    k-means finds M + ``num`` clusters of all images. The image nearest to the center of a cluster is
    its most typical one. First come those of clusters without a mask, large clusters first. A cluster
    waits one turn for each mask that it has and for each image of it that was chosen.

    Args:
        features: Representations (M + N, D) of images, those that have a mask first.
        num_labeled: M, may be 0.
        num: How many; at most N are returned.
    """
    points = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    count = min(num_labeled + num, len(points))
    centers, clusters = kmeans2(points, count, minit='++', seed=0)
    distances = np.linalg.norm(points - centers[clusters], axis=1)
    found = []
    for cluster in range(count):
        members = np.flatnonzero(clusters == cluster)
        unlabeled = members[members >= num_labeled]
        masks, size = len(members) - len(unlabeled), len(unlabeled)
        nearest = unlabeled[distances[unlabeled].argsort(kind='stable')].tolist()
        for turn, index in enumerate(nearest, masks):
            image = Ranked(index - num_labeled, cluster, size, masks, float(distances[index]))
            found.append((turn, -size, image))
    return [image for *_, image in sorted(found)[:num]]
