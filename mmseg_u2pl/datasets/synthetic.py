"""Synthetic street scenes for the demo: eight classes, drawn with numpy and OpenCV, no download.

A scene is a small 3-D street (meters; x right, y up, z ahead) seen by a pinhole camera and painted
from far to near. Materials, light, weather and camera are each drawn from a *continuum*, and the
color ranges of the classes overlap: a dozen labeled scenes leave most looks unseen, while several
hundred unlabeled ones fill the gaps step by step, the setting in which pseudo-labels can spread.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

CLASSES = ('sky', 'building', 'road', 'pavement', 'tree', 'car', 'person', 'pole')
PALETTE = ((70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232),
           (107, 142, 35), (0, 0, 142), (220, 20, 60), (255, 200, 0))  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE = range(len(CLASSES))
IGNORE = 255

GENERATOR = 'mmseg_u2pl.datasets.synthetic'
VERSION = 1  # raise it whenever a pixel may change, so that old folders are rebuilt
SPLITS = ('train', 'val', 'test')  # a split's position seeds its scenes: append only
MIN_SIDE = 32  # pixels
SUPERSAMPLE = 2  # drawn twice as large, then averaged
NEAR, FAR = 1.0, 90.0  # meters
TILE = 256  # side of the noise tile, a power of two so that wrapping is a bit mask

# A color is a random point on the line through such RGB anchors.
MATERIALS = {
    BUILDING: 'bfb39e 995442 706b69 52667a dbd6cc c79e61 808a6b 4d403d',
    ROAD: '3d3d42 666666 8f877d 785c4f',
    PAVEMENT: 'a8a399 757373 946e5c 575759',
    TREE: '294d1f 5c7529 a88f2e a35224 5c332e b88a94',
    CAR: '1a1a1f 808287 e0e0de 9e1a1a 243d7a 33614d cca833',
    PERSON: '1f1f29 334775 a8292e d1ccc2 db9e33 426b42 806657',
    POLE: '333538 707375 b8b8b8 385747',
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
        self.road, self.pavement = rng.uniform(2.4, 4.6), rng.uniform(2.0, 4.0)  # half, whole
        self.crossing = rng.uniform(8, 30) if rng.random() < 0.45 else 2 * FAR
        self.crossing_end = self.crossing + rng.uniform(5, 9)
        self.look = {label: rng.random() for label in MATERIALS}
        # Camera in meters and pixels; (`center`, `horizon`) is the vanishing point.
        self.eye, self.eye_x = rng.uniform(1.3, 2.8), rng.uniform(-1, 1) * (self.road + 0.5)
        self.focal = width * rng.uniform(0.65, 1.05)
        self.center, self.horizon = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.4, 0.6)
        self.layer = np.zeros((height, width, 4), np.float32)  # RGB, glow
        self.mask = np.full((height, width), SKY, np.uint8)
        self.depth = np.full((height, width), 0.4 * FAR, np.float32)  # meters; air thins upwards

    def material(self, label: int, alike: bool = True) -> np.ndarray:
        """RGB ``(3,)`` for an object of a class, near the scene's look where ``alike``."""
        return material(self.rng, MATERIALS[label], self.look[label] if alike else None)

    def in_crossing(self, z):
        """Whether the side road is at depth ``z``."""
        return (z > self.crossing) & (z < self.crossing_end)

    def project(self, points) -> np.ndarray:
        """World ``(N, 3)`` in meters to pixels ``(N, 2)`` (column, row), int32."""
        x, y, z = np.array(points, float).T
        scale = self.focal / np.maximum(z, NEAR)
        pixels = [self.center + (x - self.eye_x) * scale, self.horizon + (self.eye - y) * scale]
        return np.stack(pixels, axis=1).round().astype(np.int32)

    def texture(self, u, v, scale: float) -> np.ndarray:
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

    def paint(self, points, color, label: int, glow: float = 0.0) -> None:
        """Paint a flat polygon given in the world ``(N, 3)``."""
        outline, depth = [self.project(points)], min(point[2] for point in points)
        cv2.fillPoly(self.layer, outline, (*map(float, color), glow))
        cv2.fillPoly(self.mask, outline, label)
        cv2.fillPoly(self.depth, outline, float(depth))

    def cut_out(self, x: float, z: float, label: int, *parts) -> None:
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
        ground = np.isin(self.mask[rows, cols], (ROAD, PAVEMENT))
        self.layer[rows[ground], cols[ground], :3] *= self.shade(0.1)


def draw_sky(scene: Scene) -> None:
    """Gradient from the horizon to the zenith, under clouds that thicken with the overcast."""
    rows, cols = np.mgrid[: int(scene.horizon) + 1, : scene.mask.shape[1]]
    up = np.clip(1 - rows / scene.horizon, 0, 1)[..., None] ** 0.5
    sky = scene.horizon_color + (scene.zenith - scene.horizon_color) * up
    clouds = scene.texture(cols, 2 * rows, 128 / scene.mask.shape[1])[..., None]
    cover = np.clip(4 * (clouds - 0.75 + 0.35 * scene.overcast), 0, 1) * 0.8
    white = (0.95 - 0.25 * scene.overcast) * (1 - 0.75 * scene.night)
    scene.layer[: len(sky), :, :3] = sky + cover * (white - sky)


def draw_ground(scene: Scene) -> None:
    """Road with markings and curbs between two pavements of slabs, wet in places."""
    rng, top = scene.rng, int(scene.horizon) + 1
    rows, cols = np.mgrid[top : scene.mask.shape[0], : scene.mask.shape[1]]
    z = scene.focal * scene.eye / (rows - scene.horizon)
    x = scene.eye_x + (cols - scene.center) * z / scene.focal
    side, crossing = np.abs(x), scene.in_crossing(z)
    road = (side < scene.road) | crossing
    grain = scene.texture(x, z, rng.uniform(12, 30)) + 0.7 * scene.texture(x, z, 2.0) - 0.35
    color = np.where(road[..., None], scene.material(ROAD), scene.material(PAVEMENT))
    color *= (0.6 + 0.8 * grain)[..., None]
    slab = rng.uniform(0.5, 1.2)
    color[~road & (z < 25) & ((x % slab < 0.07) | (z % slab < 0.07))] *= 0.75
    color[~crossing & (np.abs(side - scene.road) < 0.12)] *= rng.uniform(0.6, 1.4)
    ahead = scene.crossing - z
    lines = (side < 0.1) & ((z + rng.uniform(0, 6)) % 6 < rng.uniform(2, 6)) & (ahead > 4)
    lines |= (np.abs(side - scene.road + 0.35) < 0.06) & (rng.random() < 0.5)
    lines |= (ahead > 0.5) & (ahead < 3.5) & (x % 1.0 < 0.5) & (side < scene.road - 0.3)  # zebra
    if rng.random() < 0.85:
        color[lines & ~crossing] = rng.uniform(0.6, 0.9) * np.array([1, 1, rng.uniform(0.6, 1)])
    wet = np.clip(3 * (rng.uniform(-0.6, 0.6) - grain + 0.4), 0, 0.5)[..., None]
    scene.layer[top:, :, :3] = color + wet * (scene.horizon_color - color)
    scene.mask[top:] = np.where(road, ROAD, PAVEMENT)
    scene.depth[top:] = z


def draw_building(scene: Scene, side: int, x: float, z0: float, z1: float) -> None:
    """A house with windows: the wall towards the camera, then the wall along the street."""
    rng, wall = scene.rng, scene.material(BUILDING, scene.rng.random() < 0.6)
    glass, bay, floor = material(rng, GLASS), rng.uniform(1.4, 3.5), rng.uniform(2.6, 3.6)
    share = rng.uniform(0.3, 0.8, 2)  # of a bay and a floor that is window
    top = rng.choice([1, 2, 2, 3, 4, 6]) * floor + 1.0
    scene.cast_shadow(x, x + side * 8, max(z0, NEAR), z1, top)
    faces = [((x + side * 12, z0), scene.sun[1] > 0), ((x, z1), scene.sun[0] * side > 0)]
    for (end_x, end_z), lit in faces[z0 <= NEAR :]:
        quad = [(x, 0, z0), (end_x, 0, end_z), (end_x, top, end_z), (x, top, z0)]
        rows, cols = scene.inside(scene.project(quad))
        offset = (cols - scene.center) / scene.focal
        if end_z == z0:
            z, place = np.full(len(cols), z0), scene.eye_x + offset * z0
        else:  # meet the plane at x; the clip is for pixels that rounding puts off the wall
            z = place = np.clip((x - scene.eye_x) / (offset + 1e-9), max(z0, NEAR), z1)
        y = scene.eye - (rows - scene.horizon) * z / scene.focal
        room = scene.texture(place // bay, y // floor, 37)  # one value a window
        window = (np.abs(place / bay % 1 - 0.5) < share[0] / 2) & (y < top - 0.8)
        window &= np.abs(y / floor % 1 - 0.5) < share[1] / 2
        color = np.where(window[:, None], glass, wall) * scene.shade(lit)
        color *= (0.75 + 0.5 * scene.texture(place, y, 9))[:, None]
        color[window & (room > 0.6)] += 0.3 * scene.horizon_color  # panes that mirror the sky
        color[(y > top - 0.4) | (np.abs(y - floor) < 0.1)] *= 0.75  # cornice, ledge
        scene.layer[rows, cols] = np.c_[color, window & (room < 0.45)]
        scene.mask[rows, cols], scene.depth[rows, cols] = BUILDING, z


def draw_row(scene: Scene, side: int) -> None:
    """The far to near houses of one side (-1 left, 1 right), trees in the gaps."""
    gaps, z1 = scene.rng.choice([0.05, 0.2, 0.6]), FAR
    while z1 > NEAR:
        z0 = z1 - scene.rng.uniform(5, 14)
        x = side * (scene.road + scene.pavement + scene.rng.uniform(0, 1.5))
        if not scene.in_crossing(np.linspace(z0, z1, 8)).any():
            if scene.rng.random() > gaps:
                draw_building(scene, side, x, z0, z1)
            elif z0 > 4:
                draw_tree(scene, x + side, z0)
        z1 = z0


def draw_tree(scene: Scene, x: float, z: float) -> None:
    """Trunk and a ragged crown of leaves, whose outline is uncertain and set to IGNORE."""
    rng, radius, stem = scene.rng, scene.rng.uniform(0.9, 2.0), scene.rng.uniform(0.8, 2.6)
    leaves, wide = scene.material(TREE), rng.uniform(0.1, 0.2)
    scene.cast_shadow(x - radius / 2, x + radius / 2, z, z + 0.2, stem + radius)
    bark = rng.uniform(0.5, 1.1) * np.array([0.36, 0.28, 0.22])
    scene.cut_out(x, z, TREE, (box(-wide, wide, 0, stem + radius), bark))
    extent = [(x - 2 * radius, stem + 3 * radius, z), (x + 2 * radius, stem - radius, z)]
    (left, top), (right, bottom) = np.clip(scene.project(extent), 0, scene.mask.shape[::-1])
    rows, cols = np.mgrid[top:bottom, left:right]
    if rows.size == 0:
        return
    dx = (cols - scene.center) * z / scene.focal + scene.eye_x - x
    up = scene.eye - (rows - scene.horizon) * z / scene.focal - stem - radius
    leaf = scene.texture(dx, up, rng.uniform(14, 26)) - 0.5
    blobs = radius * np.c_[rng.normal(0, 0.45, (7, 2)), rng.uniform(0.5, 0.95, 7)]
    crown = np.max([1 - np.hypot(dx - a, up - b) / size for a, b, size in blobs], axis=0)
    crown = (crown + rng.uniform(0.5, 1.2) * leaf > 0).astype(np.uint8)
    light = 1 + 1.1 * leaf + 0.25 * up / radius - 0.2 * scene.contrast * scene.sun[0] * dx / radius
    area, inner = np.s_[top:bottom, left:right], crown > 0
    scene.mask[area][cv2.dilate(crown, np.ones((3, 3), np.uint8)) > crown] = IGNORE
    scene.layer[area][inner] = np.c_[light[inner][:, None] * leaves, np.zeros(inner.sum())]
    scene.mask[area][inner], scene.depth[area][inner] = TREE, z


def draw_car(scene: Scene, x: float, z: float) -> None:
    """A cabin on a body, seen from behind or in front, or in a crossing from the side."""
    rng, paint, glass = scene.rng, scene.material(CAR, alike=False), material(scene.rng, GLASS)
    across = bool(scene.in_crossing(z))
    dx, dz = rng.uniform((0.82, 1.8), (0.98, 2.4))[:: -1 if across else 1]  # half sizes
    belt, roof, hood, lean = rng.uniform((0.8, 1.35, 0.0, 0.1), (1.0, 2.0, 0.8, 0.5))
    middle, near = np.array([x, 0, z + dz]), 1 if scene.eye_x > x else -1  # the flank in sight
    scene.cast_shadow(x - dx, x + dx, z, z + 2 * dz, 0.8 * roof)
    lit = [scene.shade(s) for s in (1.0, scene.sun[0] * near < 0, scene.sun[1] > 0)]
    underside, body, cabin = (0, 0.3, 0.1, 0), (0.25, belt, 0, 0), (belt, roof, hood, lean)
    for low, high, cut, slope in (underside, body, cabin):
        bx, bz = (dx - cut, dz) if across else (dx, dz - cut)
        tx, tz = (bx - slope, bz - 0.1) if across else (bx - 0.1, bz - slope)
        lid = [(-tx, high, -tz), (tx, high, -tz), (tx, high, tz), (-tx, high, tz)]
        sx, ux = near * bx, near * tx
        flank = [(sx, low, -bz), (sx, low, bz), (ux, high, tz), (ux, high, -tz)]
        face = [(-bx, low, -bz), (bx, low, -bz), (tx, high, -tz), (-tx, high, -tz)]
        for side, shade in zip(np.array([lid, flank, face]), lit, strict=True):
            scene.paint(side + middle, paint * shade * (0.15 if low == 0 else 1), CAR)
            if low == belt and side[0, 1] == low:  # the windows of the cabin
                window = 0.8 * side + 0.2 * side.mean(axis=0)
                scene.paint(window + middle, glass * shade, CAR)
    for end in (-0.62, 0.62):
        rim = disc(0, 0.32, 0.32, 0.32)
        wheel = [(end * dx + a, y, -dz) if across else (near * dx, y, end * dz + a) for a, y in rim]
        scene.paint(wheel + middle, (0.06, 0.06, 0.06), CAR)
    lamp = rng.choice([(0.75, 0.08, 0.06), (0.95, 0.93, 0.85)])
    for end in () if across else (-0.75, 0.75):
        spot = box(end * dx - 0.16, end * dx + 0.16, belt - 0.3, belt - 0.12)
        scene.cut_out(x, z, CAR, (spot, lamp, 1.0))


def draw_person(scene: Scene, x: float, z: float) -> None:
    """Legs in stride, torso, arms, at times a bag, and a head with hair."""
    rng, h = scene.rng, scene.rng.uniform(1.5, 1.95)
    lit = scene.shade(rng.random())
    coat, trousers, bag = (scene.material(PERSON, alike=False) * lit for _ in range(3))
    skin, hair = material(rng, SKIN) * lit, material(rng, SKIN) * rng.uniform(0.1, 0.9)
    w, step, hem = h * rng.uniform(0.14, 0.19), h * rng.uniform(0, 0.16), h * rng.uniform(0.3, 0.5)
    scene.cast_shadow(x - w, x + w, z, z + 0.2, h)
    parts: list[tuple] = []
    for s, dim in ((-step, 1.0), (step, 0.85)):
        leg = [(-0.8 * w, 0.5 * h), (s - 0.1, 0), (s + 0.1, 0), (0.8 * w, 0.5 * h)]
        parts.append((leg, trousers * dim))
    if rng.random() < 0.4:
        parts.append((box(0.8 * w, 1.6 * w, 0.35 * h, 0.6 * h), bag))
    arms, torso = (1.3 * w, 0.45 * h, w, 0.85), (w, hem, 0.7 * w, 1.0)
    for foot, bottom, top, dim in (arms, torso):
        shape = [(-foot, bottom), (foot, bottom), (top, 0.85 * h), (-top, 0.85 * h)]
        parts.append((shape, coat * dim))
    parts.append((disc(0, 0.93 * h, 0.075 * h, 0.085 * h), hair))
    parts.append((disc(0, 0.91 * h, 0.06 * h, 0.06 * h), skin))
    scene.cut_out(x, z, PERSON, *parts)


def draw_pole(scene: Scene, x: float, z: float) -> None:
    """A street lamp, a traffic sign or a traffic light."""
    rng, color = scene.rng, scene.material(POLE)
    w, h, kind = rng.uniform(0.07, 0.14), rng.uniform(2.4, 6.0), rng.choice(3)
    scene.cast_shadow(x - w, x + w, z, z + 0.2, h)
    parts: list[tuple] = [(box(-w, w, 0, h), color), (box(-w, -0.3 * w, 0, h), color * 0.7)]
    if kind == 0:
        arm = -np.sign(x) * rng.uniform(0.5, 1.6)
        parts.append((box(0, arm, h - 0.12, h), color))
        parts.append((box(arm - 0.3, arm + 0.3, h - 0.25, h), (0.9, 0.88, 0.75), 3.0))
    elif kind == 1:
        corners, plate = disc(0, 0, 0.42, 0.42)[:: rng.choice([1, 3, 4])], material(rng, SIGN)
        for size, ink in ((1.0, plate), (0.6, 1 - plate)):
            parts.append(([(size * a, h - 0.3 + size * b) for a, b in corners], ink))
    else:
        parts.append((box(-0.22, 0.22, h - 1.1, h), color * 0.4))
        for down, light in ((0.85, (0, 0.8, 0.2)), (0.55, (0.8, 0.5, 0)), (0.25, (0.8, 0, 0))):
            parts.append((disc(0, h - down, 0.12, 0.12), light, 0.5))
    scene.cut_out(x, z, POLE, *parts)


def draw_things(scene: Scene) -> None:
    """Populate the street and paint it from far to near."""
    rng, curb, pavement, things = scene.rng, scene.road, scene.pavement, []
    for side in (-1, 1):
        rows = (  # what, the first in meters ahead, the step, meters from the curb
            (draw_tree, (5, 12), (8, 28), (0.6, 0.9 * pavement)),
            (draw_car, (4, 12), (6.5, 25), (-1.1, -0.9)),
            (draw_pole, (3, 7), (5, 11), (0.2, 0.6)),
        )
        for draw, first, step, beside in rows:
            for z in np.arange(rng.uniform(*first), 50, rng.uniform(*step)):
                things.append((z, draw, side * (curb + rng.uniform(*beside))))
    for _ in range(rng.integers(4, 12)):
        x = curb + (rng.uniform(-curb, 0) if rng.random() < 0.2 else rng.uniform(0.3, pavement))
        things.append((rng.uniform(3.5, 13), draw_person, rng.choice([-1, 1]) * x))
    for z, draw, x in sorted(things, key=lambda thing: -thing[0]):
        draw(scene, x, z)


def develop(scene: Scene, height: int, width: int) -> np.ndarray:
    """Photograph the scene (light, haze, lens, sensor, JPEG): uint8 BGR ``(height, width, 3)``."""
    rng, night, glow = scene.rng, scene.night, scene.layer[..., 3]
    color: np.ndarray = (
        scene.layer[..., :3] * np.where(scene.mask == SKY, 1, 1 - 0.75 * night)[..., None]
    )
    color += (1 - np.exp(-scene.haze * scene.depth))[..., None] * (scene.horizon_color - color)
    bloom = 0.5 * glow + 1.2 * cv2.GaussianBlur(glow, (0, 0), width / 30)
    color += night * bloom[..., None] * np.array([1, 0.8, 0.5])
    color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
    color = cv2.GaussianBlur(color, (0, 0), rng.uniform(0.15, 0.9))
    gray = color.mean(axis=2, keepdims=True)
    color = gray + rng.uniform(0.4, 1.3) * (color - gray)
    exposure = rng.uniform(0.75, 1.25) * (0.48 / gray.mean()) ** 0.7  # a camera meters, in part
    warmth = np.exp(rng.normal(0, 0.1) * np.array([1, 0, -1]))
    color = np.clip(color * exposure * warmth, 0, 1) ** rng.uniform(0.75, 1.3)
    color += rng.uniform(0, 0.05) * rng.standard_normal(color.shape)
    image = (255 * np.clip(color[..., ::-1], 0, 1)).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
    return np.asarray(cv2.imdecode(cv2.imencode('.jpg', image, quality)[1], cv2.IMREAD_COLOR))


def render_scene(
    rng: np.random.Generator, height: int = 96, width: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Returns:
        The image, uint8 BGR ``(height, width, 3)``, and its mask, uint8 ``(height, width)`` of
        indices into ``CLASSES`` and ``IGNORE``.
    """
    if min(height, width) < MIN_SIDE:
        raise ValueError(f'a scene needs {MIN_SIDE} or more pixels a side, got {height}x{width}')
    scene = Scene(rng, SUPERSAMPLE * height, SUPERSAMPLE * width)
    draw_sky(scene)
    draw_ground(scene)
    draw_row(scene, -1)
    draw_row(scene, 1)
    draw_things(scene)
    return develop(scene, height, width), scene.mask[::SUPERSAMPLE, ::SUPERSAMPLE].copy()


def save(path: Path, image: np.ndarray) -> None:
    """Write an image in the format of the suffix, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def read_meta(path: Path) -> dict:
    """What a folder says of its making; empty if nothing, or nothing of ours."""
    try:
        meta = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return meta if isinstance(meta, dict) and meta.get('generator') == GENERATOR else {}


def write_dataset(
    root: str | Path, *, num_labeled: int = 12, num_unlabeled: int = 300, num_val: int = 40,
    num_test: int = 100, height: int = 96, width: int = 128, seed: int = 0,
) -> Path:  # fmt: skip
    """Write ``img_dir``, ``ann_dir`` and ``splits`` under ``root``, unless they are there already.

    Scene ``i`` of a split depends on ``(seed, split, i)`` alone. The labeled images are the first
    of ``train``; the unlabeled ones, which get no mask, follow. So ``num_labeled=312,
    num_unlabeled=0`` gives the same images with all masks, for an upper bound. Not for several
    processes at once on one folder.

    Raises:
        ValueError: A count, a size or the seed is too small or no integer.
        FileExistsError: ``root`` holds files that this generator did not write.
    """
    wanted = dict(num_labeled=num_labeled, num_unlabeled=num_unlabeled, num_val=num_val,
                  num_test=num_test, height=height, width=width, seed=seed)  # fmt: skip
    least = dict(num_labeled=1, height=MIN_SIDE, width=MIN_SIDE)
    for name, value in wanted.items():
        if not isinstance(value, int) or value < least.get(name, 0):
            raise ValueError(f'{name} must be an integer >= {least.get(name, 0)}, got {value!r}')
    root = Path(root)
    meta = dict(generator=GENERATOR, version=VERSION, **wanted)
    found = read_meta(root / 'meta.json')
    if found == {**meta, 'complete': True}:
        return root
    if not found and root.exists() and any(root.iterdir()):
        raise FileExistsError(f'{root} holds files of another origin: name a new or empty folder')
    # Marked as ours and incomplete until the last file is there, so that a cut run is redone.
    root.mkdir(parents=True, exist_ok=True)
    (root / 'meta.json').write_text(json.dumps({**meta, 'complete': False}))
    for name in ('img_dir', 'ann_dir', 'splits'):
        shutil.rmtree(root / name, ignore_errors=True)
    counts = dict(train=num_labeled + num_unlabeled, val=num_val, test=num_test)
    scenes = [(split, index) for split in SPLITS for index in range(counts[split])]
    stems: dict[str, list[str]] = dict(labeled=[], unlabeled=[])
    for split, index in track(scenes, 'Drawing street scenes'):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        image, mask = render_scene(rng, height, width)
        stem = f'{split}_{index:05d}'
        save(root / 'img_dir' / split / f'{stem}.jpg', image)
        labeled = split != 'train' or index < num_labeled
        if labeled:
            save(root / 'ann_dir' / split / f'{stem}.png', mask)
        if split == 'train':
            stems['labeled' if labeled else 'unlabeled'].append(f'{stem}\n')
    (root / 'splits').mkdir()
    for name, lines in stems.items():
        (root / 'splits' / f'{name}.txt').write_text(''.join(lines))
    (root / 'meta.json').write_text(json.dumps({**meta, 'complete': True}, indent=1))
    return root
