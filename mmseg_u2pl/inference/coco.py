"""Index masks as COCO annotations, which annotation tools read: one polygon a connected region."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np


class CocoAnnotations:
    """Collects masks; :attr:`content` is what the JSON file holds.

    Category ids are class numbers plus 1: COCO has no category 0.

    Args:
        classes: C names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.content: dict[str, Any] = dict(
            info=dict(description='pseudo-labels', contributor='mmseg_u2pl'),
            images=[],
            annotations=[],
            categories=[dict(id=index + 1, name=name) for index, name in enumerate(classes)],
        )

    def add(self, file_name: str, mask: np.ndarray, **more: Any) -> None:
        """Add the regions of an image's mask (H, W); what is no class, such as 255, is left out.

        Args:
            file_name: Of the image.
            mask: Integer (H, W).
            **more: What else the image's entry says.
        """
        images, annotations = self.content['images'], self.content['annotations']
        height, width = mask.shape
        size = dict(height=height, width=width)
        images.append(dict(id=len(images) + 1, file_name=file_name, **size, **more))
        for category in self.content['categories']:
            for corners in polygons(mask == category['id'] - 1):
                (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=len(images),
                        category_id=category['id'],
                        segmentation=[corners.ravel().tolist()],
                        area=cv2.contourArea(corners),
                        bbox=[left, top, right - left, bottom - top],
                        iscrowd=0,
                    )
                )

    def keep(self, earlier: Mapping[str, Any]) -> int:
        """Take over what an earlier file says of other images; how many these are."""
        images, annotations = self.content['images'], self.content['annotations']
        names = {image['file_name'] for image in images}
        others = [image for image in earlier.get('images', ()) if image['file_name'] not in names]
        places = {image['id']: len(images) + n for n, image in enumerate(others, 1)}
        images += [dict(image, id=places[image['id']]) for image in others]
        for each in earlier.get('annotations', ()):
            if each['image_id'] in places:
                place = places[each['image_id']]
                annotations.append(dict(each, id=len(annotations) + 1, image_id=place))
        return len(others)


def polygons(region: np.ndarray) -> Iterator[np.ndarray]:
    """The outline of each connected part of a region, along the edges of its pixels.

    A hole is joined to the outline by a line that is walked there and back, since COCO fills all
    polygons of an annotation.

    Args:
        region: Boolean (H, W).

    Returns:
        Corners (N, 2) as x and y, int, of parts in which pixels touch by a side or a corner.
    """
    # contours run through centers of pixels: of four in the place of one, 2x and 2x + 1 are its edges
    fourfold = region.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    contours, tree = cv2.findContours(fourfold, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [(contour[:, 0] + 1) // 2 for contour in contours]
    for index, (_, _, hole, parent) in enumerate(tree[0] if contours else ()):
        if parent >= 0:
            continue
        path = outlines[index]
        start = path[:1]
        while hole >= 0:
            path = np.concatenate((path, start, outlines[hole], outlines[hole][:1]))
            hole = tree[0][hole][0]
        yield path[(path != np.roll(path, 1, 0)).any(1)]  # halving made neighbors equal
