"""Polygons of masks: their pixels and areas, holes and corners included."""

import cv2
import numpy as np
import pytest

from mmseg_u2pl.inference.coco import CocoAnnotations, polygons


def filled(corners, height, width):
    """A slow reference: the even-odd rule at the center of each pixel, as COCO's tools fill."""
    inside = np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
                if (y0 <= y) != (y1 <= y):  # edges of pixels: y + ½ lies between them
                    crossings += x0 + (y + 0.5 - y0) / (y1 - y0) * (x1 - x0) < x + 0.5
            inside[y, x] = crossings % 2
    return inside


@pytest.mark.parametrize('seed', range(12))
def test_any_mask_is_the_sum_of_its_polygons(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 11)) < (0.3, 0.5, 0.7, 0.9)[seed % 4]
    total = np.zeros(mask.shape, dtype=int)
    for corners in polygons(mask):
        region = filled(corners, *mask.shape)
        assert cv2.contourArea(corners) == region.sum()
        assert (corners != np.roll(corners, 1, 0)).any(1).all()  # no point twice in a row
        total += region
    np.testing.assert_array_equal(total, mask)


def test_a_ring_by_hand():
    mask = np.ones((3, 3), dtype=bool)
    mask[1, 1] = False
    (corners,) = polygons(mask)
    assert {tuple(point) for point in corners.tolist()} == {
        (0, 0), (0, 3), (3, 3), (3, 0), (1, 1), (1, 2), (2, 2), (2, 1),
    }  # fmt: skip
    assert cv2.contourArea(corners) == 8


def test_annotations_by_hand():
    coco = CocoAnnotations(['sky', 'road'])
    coco.add('a/1.jpg', np.array([[255, 1, 1, 255], [255, 1, 1, 0]], dtype=np.uint8))
    content = coco.content
    assert content['categories'] == [dict(id=1, name='sky'), dict(id=2, name='road')]
    assert content['images'] == [dict(id=1, file_name='a/1.jpg', height=2, width=4)]
    sky, road = content['annotations']
    assert (sky['category_id'], sky['area'], sky['bbox']) == (1, 1, [3, 1, 1, 1])
    assert (road['category_id'], road['area'], road['bbox']) == (2, 4, [1, 0, 2, 2])
    assert (road['id'], road['image_id'], road['iscrowd']) == (2, 1, 0)
    (points,) = road['segmentation']
    corners = {tuple(points[i : i + 2]) for i in range(0, len(points), 2)}
    assert corners == {(1, 0), (3, 0), (3, 2), (1, 2)}
    assert not list(polygons(np.zeros((2, 2), dtype=bool)))
