"""The street that a synthetic scene shows: its materials, light, camera and canvas."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import cv2
import numpy as np

Label = IntEnum('Label', 'SKY BUILDING ROAD PAVEMENT TREE CAR PERSON POLE', start=0)
NEAR, FAR = 1.0, 90.0  # meters
TILE = 256  # side of the noise tile, a power of two so that wrapping is a bit mask

# A color is a random point on the line through such RGB anchors.
MATERIALS = {
    Label.BUILDING: 'bfb39e 995442 706b69 52667a dbd6cc c79e61 808a6b 4d403d',
    Label.ROAD: '3d3d42 666666 8f877d 785c4f',
    Label.PAVEMENT: 'a8a399 757373 946e5c 575759',
    Label.TREE: '294d1f 5c7529 a88f2e a35224 5c332e b88a94',
    Label.CAR: '1a1a1f 808287 e0e0de 9e1a1a 243d7a 33614d cca833',
    Label.PERSON: '1f1f29 334775 a8292e d1ccc2 db9e33 426b42 806657',
    Label.POLE: '333538 707375 b8b8b8 385747',
}
SKIN = 'e0b399 9e7057 4d3329'
GLASS = '0f1214 3d4a52 7a8b94'
SIGN = 'c01818 f0f0f0 1848b0 e0b010'
ZENITH = '3d78d6 5c8fdc 859fcc 5c5c85 12172e'  # from noon to night
HORIZON = 'a8c8ec c4d8ea e0d6c7 eb996b 3d3852'


def along(anchors: str, t: float) -> np.ndarray:
    """RGB ``(3,)`` in [0, 1] at ``t`` in [0, 1] on the piecewise linear path of ``anchors``."""
    path = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()]) / 255
    steps = np.linspace(0, 1, len(path))
    return np.array([np.interp(t, steps, channel) for channel in path.T])


def material(rng: np.random.Generator, anchors: str, look: float | None = None) -> np.ndarray:
    """RGB ``(3,)`` of one object; a shared ``look`` in [0, 1] keeps a scene's objects alike."""
    t = rng.random() if look is None else np.clip(look + rng.normal(0, 0.1), 0, 1)
    return np.clip(along(anchors, t) * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03, 3), 0.01, 1)


def noise_tile(rng: np.random.Generator) -> np.ndarray:
    """Noise of all octaves (1/f), seamless, ``(TILE, TILE)`` of mean 0.5 within [0, 1]."""
    freq = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    freq[0, 0] = np.inf  # no constant term
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) / freq ** rng.uniform(0.9, 1.4)
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return np.clip(0.5 + 0.22 * noise / noise.std(), 0, 1)


def box(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
    """Outline of an upright rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def disc(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    """Outline of an ellipse."""
    return [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 14)]


class Scene:
    """The factors one scene is made of, and the canvas: color, class and depth of each pixel."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.noise = rng, noise_tile(rng)
        # Light and air. `sun` is how far a shadow's tip moves in x and z per meter of height.
        self.night, self.overcast = rng.beta(0.8, 2.2), rng.beta(0.7, 1.0)
        self.haze = 0.06 * rng.beta(0.7, 2.5)  # extinction per meter
        self.sun = np.array([rng.uniform(-1.4, 1.4), rng.uniform(-0.5, 1.0)])
        self.contrast = 0.6 * (1 - self.overcast) * (1 - self.night)
        gray = rng.uniform(0.55, 0.9) * (1 - 0.8 * self.night) * 0.85 * self.overcast
        self.zenith, self.horizon_color = (
            along(anchors, self.night) * (1 - 0.85 * self.overcast) + gray
            for anchors in (ZENITH, HORIZON)
        )
        # Ground plan in meters; a `crossing` beyond FAR is none.
        self.road, self.pavement = rng.uniform(2.4, 4.2), rng.uniform(2.6, 4.6)  # half, whole
        self.crossing = rng.uniform(8, 30) if rng.random() < 0.45 else 2 * FAR
        self.crossing_end = self.crossing + rng.uniform(5, 9)
        self.look = {label: rng.random() for label in MATERIALS}
        # Camera in meters and pixels; (`center`, `horizon`) is the vanishing point.
        self.eye, self.eye_x = rng.uniform(1.3, 2.8), rng.uniform(-1, 1) * (self.road + 0.5)
        self.focal = width * rng.uniform(0.65, 1.05)
        self.center, self.horizon = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.4, 0.6)
        self.layer = np.zeros((height, width, 4), np.float32)  # RGB, glow
        self.mask = np.full((height, width), Label.SKY, np.uint8)
        self.depth = np.full((height, width), 0.4 * FAR, np.float32)  # meters; air thins upwards

    def material(self, label: Label, alike: bool = True) -> np.ndarray:
        """RGB ``(3,)`` for an object of a class, near the scene's look where ``alike``."""
        return material(self.rng, MATERIALS[label], self.look[label] if alike else None)

    def in_crossing(self, z: Any) -> Any:
        """Whether the side road is at depth ``z``."""
        return (z > self.crossing) & (z < self.crossing_end)

    def project(self, points: Sequence) -> np.ndarray:
        """World ``(N, 3)`` in meters to pixels ``(N, 2)`` (column, row), int32."""
        x, y, z = np.array(points, float).T
        scale = self.focal / np.maximum(z, NEAR)
        pixels = [self.center + (x - self.eye_x) * scale, self.horizon + (self.eye - y) * scale]
        return np.stack(pixels, axis=1).round().astype(np.int32)

    def texture(self, u: np.ndarray | float, v: np.ndarray | float, scale: float) -> np.ndarray:
        """Noise at places ``u, v`` that are ``scale`` cells of the tile a unit."""
        col, row = ((np.asarray(a) * scale).astype(np.int64) & (TILE - 1) for a in (u, v))
        return self.noise[row, col]

    def shade(self, lit: float) -> float:
        """Brightness of a surface that gets the share ``lit`` of the direct light."""
        return 1 - self.contrast * (1 - lit)

    def inside(self, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns ``(P,)`` of the pixels inside a polygon ``(N, 2)``."""
        region = cv2.fillPoly(np.zeros(self.mask.shape, np.uint8), [outline], 1)
        left, top, width, height = cv2.boundingRect(region)  # nonzero is slow on a whole canvas
        rows, cols = np.nonzero(region[top : top + height, left : left + width])
        return rows + top, cols + left

    def paint(
        self, points: Sequence, color: Sequence[float] | np.ndarray, label: int, glow: float = 0.0
    ) -> None:
        """Paint a flat polygon given in the world ``(N, 3)``."""
        outline, depth = [self.project(points)], min(point[2] for point in points)
        cv2.fillPoly(self.layer, outline, (*map(float, color), glow))
        cv2.fillPoly(self.mask, outline, label)
        cv2.fillPoly(self.depth, outline, float(depth))

    def cut_out(self, x: float, z: float, label: int, *parts: Sequence) -> None:
        """Paint upright ``parts`` (outline in meters right of and above (x, 0, z), color)."""
        for outline, color, *glow in parts:
            self.paint([(x + dx, y, z) for dx, y in outline], color, label, *glow)

    def cast_shadow(self, x0: float, x1: float, z0: float, z1: float, height: float) -> None:
        """Darken the ground from a footprint to where the shadow of its top falls."""
        if self.contrast < 0.03 or z0 > 40:  # not to be seen
            return
        feet = np.array([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)])
        tips = feet + height * np.array([self.sun[0], 0, self.sun[1]])
        rows, cols = self.inside(cv2.convexHull(self.project([*feet, *tips]))[:, 0])
        ground = np.isin(self.mask[rows, cols], (Label.ROAD, Label.PAVEMENT))
        self.layer[rows[ground], cols[ground], :3] *= self.shade(0.1)
