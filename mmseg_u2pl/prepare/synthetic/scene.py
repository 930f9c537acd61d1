"""A street of blocks seen by a pinhole camera, painted from far to near.

Meters; x points right, y up, z ahead. Looks come from continua in which the classes overlap: a
dozen labeled scenes leave most looks to the unlabeled ones.
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

CLASSES = ('sky', 'building', 'road', 'pavement', 'tree', 'car', 'person', 'pole')
PALETTE = ((70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232),
           (107, 142, 35), (0, 0, 142), (220, 20, 60), (255, 200, 0))  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE, SKIN, GLASS = range(10)  # and materials
IGNORE, MIN_SIDE = 255, 32
NEAR, FAR, SUPERSAMPLE = 1.0, 90.0, 2  # drawn twice as large, then averaged
COLORS: dict[int, str] = {  # a material is a point on the line through its RGB anchors
    SKY: '12172e 3d3852 5c5c85 8a8a94 c4d8ea 5c8fdc 3d78d6 a8c8ec d9d9d9 eb996b',
    BUILDING: 'bfb39e 995442 706b69 52667a dbd6cc c79e61 808a6b 4d403d',
    ROAD: '3d3d42 666666 8f877d 785c4f',
    PAVEMENT: 'a8a399 757373 946e5c 575759',
    TREE: '294d1f 5c7529 a88f2e a35224 5c332e b88a94',
    CAR: '1a1a1f 808287 e0e0de 9e1a1a 243d7a 33614d cca833',
    PERSON: '1f1f29 334775 a8292e d1ccc2 db9e33 426b42 806657',
    POLE: '333538 707375 b8b8b8 385747',
    SKIN: '4d3329 9e7057 e0b399',
    GLASS: '0f1214 3d4a52 7a8b94',
}
# Color, half width, length, bottom, top, slope (the top is smaller), columns and rows of windows.
PARTS: dict[int, tuple] = {
    TREE: ((SKIN, 0.15, 0.3, 0, 3, 0.2),),
    CAR: ((GLASS, 0.9, 4.2, 0, 0.4, 0), (CAR, 0.9, 4.4, 0.3, 1, 0.05),
          (CAR, 0.9, 3.6, 1, 1.7, 0.25, 1, 1)),
    PERSON: ((CAR, 0.18, 0.2, 0, 0.9, 0), (PERSON, 0.28, 0.3, 0.75, 1.5, 0.3),
             (SKIN, 0.11, 0.2, 1.5, 1.75, 0.2)),
    POLE: ((POLE, 0.09, 0.18, 0, 4, 0), (POLE, 0.3, 0.1, 3.5, 4, 0)),
}  # fmt: skip


def cells(face: np.ndarray, columns: int, rows: int, share: float) -> np.ndarray:
    """Outlines ``(columns * rows, 4, 3)`` of the middle ``share`` of each cell of a face."""
    corners = 0.5 + share * np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    grid = np.array(list(np.ndindex(columns, rows)))[:, None] + corners
    u, v = np.moveaxis(grid / (columns, rows), -1, 0)[..., None]
    low, high = face[0] + u * (face[1] - face[0]), face[3] + u * (face[2] - face[3])
    return low + v * (high - low)


class Street:
    """Light, ground plan, camera and canvas of a scene; its methods paint on the canvas."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.look = rng, rng.random(len(CLASSES))
        octaves = [rng.random((side, side)) for side in (4, 8, 16, 32, 64, 128, 256)]
        noise = sum(cv2.resize(octave, (256, 256)) for octave in octaves) / len(octaves)
        self.noise = np.clip(0.5 + 2.5 * (noise - 0.5), 0, 1)
        self.brightness = rng.uniform(0.4, 1.2) * np.exp(rng.normal(0, 0.12, 3))
        self.haze = 0.06 * rng.beta(0.7, 2.5)  # extinction per meter
        self.horizon, self.zenith = self.material(SKY, True), self.material(SKY, True)
        self.faces = rng.uniform(0.6, 1.1, 3)  # light on fronts [0], right [1] and left sides [-1]
        self.road, self.pavement = rng.uniform((2.4, 2.6), (4.2, 4.6))  # half, whole width
        self.eye = rng.uniform((-self.road, 1.3), (self.road, 2.8))
        self.focal = width * rng.uniform(0.65, 1.05)  # pixels
        self.vanishing = rng.uniform((0.25, 0.4), (0.75, 0.6)) * (width, height)  # column, row
        # How far the ray of each pixel goes to the right and up per meter ahead.
        rows, cols = np.mgrid[:height, :width] + 0.5
        self.right = (cols - self.vanishing[0]) / self.focal
        self.up = (self.vanishing[1] - rows) / self.focal
        self.color = np.zeros((height, width, 3))
        self.mask = np.zeros((height, width), np.uint8)

    def material(self, key: int, alike: bool = False) -> np.ndarray:
        """RGB ``(3,)`` of an object, near the look of the scene where ``alike``."""
        look = self.look[key] + self.rng.normal(0, 0.1) if alike else self.rng.random()
        line = np.frombuffer(bytes.fromhex(COLORS[key]), np.uint8).reshape(-1, 3) / 255
        index, part = divmod(min(max(look, 0), 0.999) * (len(line) - 1), 1)
        color = line[int(index)] * (1 - part) + line[int(index) + 1] * part
        return (color * self.rng.uniform(0.8, 1.2) + self.rng.normal(0, 0.03, 3)).clip(0.01, 1)

    def texture(self, u: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
        """Noise ``(..., 1)`` in [0, 1] at ``(u, v)`` with ``scale`` cells a meter."""
        return self.noise[(v * scale).astype(int) & 255, (u * scale).astype(int) & 255, None]

    def seen(self, color: np.ndarray, z: np.ndarray | float) -> np.ndarray:
        """A color in the light of the scene through ``z`` meters of haze."""
        clear = np.exp(-self.haze * np.asarray(z))[..., None]
        return clear * self.brightness * color + (1 - clear) * self.horizon

    def paint(self, points: np.ndarray, color: np.ndarray, label: int) -> None:
        """Fill the outlines ``(num, N, 3)`` of things at about the same depth."""
        ahead = np.maximum(points[..., 2:], NEAR)
        pixels = self.vanishing + (points[..., :2] - self.eye) / ahead * (self.focal, -self.focal)
        polygons = list(pixels.round().astype(np.int32))
        cv2.fillPoly(self.color, polygons, self.seen(color, ahead.min()).tolist())
        cv2.fillPoly(self.mask, polygons, label)

    def block(self, label: int, color: np.ndarray, x: float, z: float, size: tuple) -> None:
        """A box around (x, z) with windows; ``size`` as in ``PARTS``, from the half width on."""
        half, length, low, high, slope, *windows = size
        near = half if self.eye[0] > x else -half  # the side in sight
        base = np.array([(near, length), (near, -length), (-near, -length)]) * (1, 0.5)
        bottom = np.insert(np.add(base, (x, z)), 1, low, axis=1)
        top = np.insert(np.add(base * (1 - slope), (x, z)), 1, high, axis=1)
        self.paint(np.array([[*top, top[0] + top[2] - top[1]]]), color, label)
        for i, light in enumerate((int(np.sign(near)), 0)):  # the side, then the front
            face = np.array([bottom[i], bottom[i + 1], top[i + 1], top[i]])
            self.paint(face[None], color * self.faces[light], label)
            if windows:
                panes = cells(face, *windows, share=self.rng.uniform(0.5, 0.85))
                self.paint(panes, self.material(GLASS) * self.faces[light], label)

    def background(self) -> None:
        """Sky with clouds, and a road with a dashed line between two pavements of slabs."""
        rng, top = self.rng, int(self.vanishing[1]) + 1
        clouds = self.texture(self.right, 2 * self.up, 100) * self.up[..., None] / self.up.max()
        self.color[:] = self.horizon + np.clip(2 * clouds, 0, 1) * (self.zenith - self.horizon)
        z = self.eye[1] / -self.up[top:]
        x = self.eye[0] + self.right[top:] * z
        road = np.abs(x) < self.road
        color = np.where(road[..., None], self.material(ROAD, True), self.material(PAVEMENT, True))
        color *= 0.3 + 0.8 * self.texture(x, z, rng.uniform(12, 30)) + 0.6 * self.texture(x, z, 2)
        slab = rng.uniform(0.5, 1.2)
        color[~road & (z < 25) & ((x % slab < 0.07) | (z % slab < 0.07))] *= 0.75
        color[(np.abs(x) < 0.1) & (z % 6 < rng.uniform(0, 5))] = rng.uniform(0.5, 0.9)
        self.color[top:], self.mask[top:] = self.seen(color, z), np.where(road, ROAD, PAVEMENT)

    def houses(self) -> None:
        """Two rows of houses with windows, and gaps."""
        rng = self.rng
        for side in (-1, 1):
            z, gaps = FAR, rng.beta(0.7, 2)
            while z > NEAR:
                floors, length = rng.choice([1, 2, 2, 3, 4, 6]), rng.uniform(5, 14)
                z -= length
                if rng.random() > gaps:
                    color = self.material(BUILDING, rng.random() < 0.6)
                    x = side * (self.road + self.pavement + rng.uniform(6, 7.5))
                    size = 6, length, 0, 3 * floors + 0.5, 0, rng.integers(2, 6), floors
                    self.block(BUILDING, color, x, z + length / 2, size)

    def crown(self, x: float, z: float) -> None:
        """A ragged ball of leaves, whose outline is uncertain and set to IGNORE."""
        radius, height, ragged, grain = self.rng.uniform((0.9, 2.4, 0.8, 14), (2, 3.6, 1.6, 26))
        right, up = self.eye[0] + self.right * z - x, self.eye[1] + self.up * z - height
        near = (np.abs(right) < 2 * radius) & (np.abs(up) < 2 * radius)
        right, up = right[near], up[near]
        leaf = self.texture(right, up, grain) - 0.5
        inside = 1 - np.hypot(right, up) / radius + ragged * leaf[:, 0]
        color = self.material(TREE, True) * (1 + 1.1 * leaf + 0.25 * up[:, None] / radius)
        self.color[near] = np.where(inside[:, None] > 0, self.seen(color, z), self.color[near])
        for least, label in ((-0.08, IGNORE), (0, TREE)):
            self.mask[near] = np.where(inside > least, label, self.mask[near])

    def things(self) -> None:
        """Trees, cars, poles and persons between the houses, from far to near."""
        rng, curb, things = self.rng, self.road, []
        rows = (  # what, the first in meters ahead, the step, meters from the curb
            (TREE, (5, 12), (8, 28), (0.6, 0.9 * self.pavement)),
            (CAR, (5, 14), (6.5, 25), (-1.1, -0.9)),
            (POLE, (3, 7), (5, 11), (0.2, 0.6)),
            (PERSON, (3, 6), (1.5, 5), (-0.2 * curb, self.pavement)),
        )
        for side, (label, first, step, beside) in product((-1, 1), rows):
            for z in np.arange(rng.uniform(*first), 32, rng.uniform(*step)):
                things.append((z, side * (curb + rng.uniform(*beside)), label))
        for z, x, label in sorted(things, reverse=True):
            colors = {key: self.material(key) for key, *_ in PARTS[label]}
            wide, tall = rng.uniform(0.8, 1.25, 2)
            for key, half, length, low, high, *rest in PARTS[label]:
                size = wide * half, length, tall * low, tall * high, *rest
                self.block(label, colors[key], x, z, size)
            if label == TREE:
                self.crown(x, z)

    def photograph(self) -> np.ndarray:
        """Lens, exposure and sensor: uint8 BGR, ``SUPERSAMPLE`` times smaller."""
        rng, rows = self.rng, len(self.mask) // SUPERSAMPLE
        color = self.color * (0.8 + 0.4 * self.texture(self.right, self.up, 200))
        color = color.reshape(rows, SUPERSAMPLE, -1, SUPERSAMPLE, 3).mean(axis=(1, 3))
        color = np.asarray(cv2.GaussianBlur(color, (0, 0), rng.uniform(0.15, 0.6)), float)
        gray = color.mean(axis=2, keepdims=True)
        color = gray + rng.uniform(0.4, 1.3) * (color - gray)
        color *= rng.uniform(0.75, 1.25) * (0.48 / gray.mean()) ** 0.7  # a camera meters, in part
        color = np.clip(color, 0, 1) ** rng.uniform(0.75, 1.3)
        color += rng.uniform(0, 0.03) * rng.standard_normal(color.shape)
        return (255 * np.clip(color[..., ::-1], 0, 1)).astype(np.uint8)


def render_scene(
    rng: np.random.Generator, height: int = 96, width: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a street: image, uint8 BGR ``(H, W, 3)``, and mask of ``CLASSES``, uint8 ``(H, W)``."""
    if min(height, width) < MIN_SIDE:
        raise ValueError(f'a scene needs {MIN_SIDE} or more pixels a side, got {height}x{width}')
    street = Street(rng, SUPERSAMPLE * height, SUPERSAMPLE * width)
    for paint in (street.background, street.houses, street.things):
        paint()
    return street.photograph(), street.mask[::SUPERSAMPLE, ::SUPERSAMPLE].copy()
