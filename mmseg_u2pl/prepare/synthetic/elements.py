"""What stands in a synthetic street, drawn one element a function, and the photograph of it."""

import cv2
import numpy as np

from ...functional import IGNORE
from .scene import FAR, GLASS, NEAR, SIGN, SKIN, Label, Scene, box, disc, material

SUPERSAMPLE = 2  # drawn twice as large, then averaged


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
    color = np.where(road[..., None], scene.material(Label.ROAD), scene.material(Label.PAVEMENT))
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
    scene.mask[top:] = np.where(road, Label.ROAD, Label.PAVEMENT)
    scene.depth[top:] = z


def draw_building(scene: Scene, side: int, x: float, z0: float, z1: float) -> None:
    """A house with windows: the wall toward the camera, then the wall along the street."""
    rng, wall = scene.rng, scene.material(Label.BUILDING, scene.rng.random() < 0.6)
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
        scene.mask[rows, cols], scene.depth[rows, cols] = Label.BUILDING, z


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
    leaves, wide = scene.material(Label.TREE), rng.uniform(0.1, 0.2)
    scene.cast_shadow(x - radius / 2, x + radius / 2, z, z + 0.2, stem + radius)
    bark = rng.uniform(0.5, 1.1) * np.array([0.36, 0.28, 0.22])
    scene.cut_out(x, z, Label.TREE, (box(-wide, wide, 0, stem + radius), bark))
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
    scene.mask[area][inner], scene.depth[area][inner] = Label.TREE, z


def draw_car(scene: Scene, x: float, z: float) -> None:
    """A cabin on a body, seen from behind or in front, or in a crossing from the side."""
    rng, paint, glass = (
        scene.rng,
        scene.material(Label.CAR, alike=False),
        material(scene.rng, GLASS),
    )
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
            scene.paint(side + middle, paint * shade * (0.15 if low == 0 else 1), Label.CAR)
            if low == belt and side[0, 1] == low:  # the windows of the cabin
                window = 0.8 * side + 0.2 * side.mean(axis=0)
                scene.paint(window + middle, glass * shade, Label.CAR)
    for end in (-0.62, 0.62):
        rim = disc(0, 0.32, 0.32, 0.32)
        wheel = [(end * dx + a, y, -dz) if across else (near * dx, y, end * dz + a) for a, y in rim]
        scene.paint(wheel + middle, (0.06, 0.06, 0.06), Label.CAR)
    lamp = rng.choice([(0.75, 0.08, 0.06), (0.95, 0.93, 0.85)])
    for end in () if across else (-0.75, 0.75):
        spot = box(end * dx - 0.16, end * dx + 0.16, belt - 0.3, belt - 0.12)
        scene.cut_out(x, z, Label.CAR, (spot, lamp, 1.0))


def draw_person(scene: Scene, x: float, z: float) -> None:
    """Legs in stride, torso, arms, at times a bag, and a head with hair."""
    rng, h = scene.rng, scene.rng.uniform(1.5, 1.95)
    lit = scene.shade(rng.random())
    coat, trousers, bag = (scene.material(Label.PERSON, alike=False) * lit for _ in range(3))
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
    scene.cut_out(x, z, Label.PERSON, *parts)


def draw_pole(scene: Scene, x: float, z: float) -> None:
    """A street lamp, a traffic sign or a traffic light."""
    rng, color = scene.rng, scene.material(Label.POLE)
    w, h, kind = rng.uniform(0.1, 0.18), rng.uniform(2.4, 6.0), rng.choice(3)
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
    scene.cut_out(x, z, Label.POLE, *parts)


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
            for z in np.arange(rng.uniform(*first), 32, rng.uniform(*step)):
                things.append((z, draw, side * (curb + rng.uniform(*beside))))
    for _ in range(rng.integers(5, 12)):
        x = curb + (rng.uniform(-curb, 0) if rng.random() < 0.2 else rng.uniform(0.3, pavement))
        things.append((rng.uniform(3, 8), draw_person, rng.choice([-1, 1]) * x))
    for z, draw, x in sorted(things, key=lambda thing: -thing[0]):
        draw(scene, x, z)


def develop(scene: Scene, height: int, width: int) -> np.ndarray:
    """Photograph the scene (light, haze, lens, sensor, JPEG): uint8 BGR ``(height, width, 3)``."""
    rng, night, glow = scene.rng, scene.night, scene.layer[..., 3]
    color: np.ndarray = (
        scene.layer[..., :3] * np.where(scene.mask == Label.SKY, 1, 1 - 0.75 * night)[..., None]
    )
    color += (1 - np.exp(-scene.haze * scene.depth))[..., None] * (scene.horizon_color - color)
    bloom = 0.5 * glow + 1.2 * cv2.GaussianBlur(glow, (0, 0), width / 30)
    color += night * bloom[..., None] * np.array([1, 0.8, 0.5])
    color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
    color = cv2.GaussianBlur(color, (0, 0), rng.uniform(0.15, 0.6))
    gray = color.mean(axis=2, keepdims=True)
    color = gray + rng.uniform(0.4, 1.3) * (color - gray)
    exposure = rng.uniform(0.75, 1.25) * (0.48 / gray.mean()) ** 0.7  # a camera meters, in part
    warmth = np.exp(rng.normal(0, 0.1) * np.array([1, 0, -1]))
    color = np.clip(color * exposure * warmth, 0, 1) ** rng.uniform(0.75, 1.3)
    color += rng.uniform(0, 0.03) * rng.standard_normal(color.shape)
    image = (255 * np.clip(color[..., ::-1], 0, 1)).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
    return np.asarray(cv2.imdecode(cv2.imencode('.jpg', image, quality)[1], cv2.IMREAD_COLOR))


def render_scene(
    rng: np.random.Generator, height: int = 96, width: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Returns:
        The image, uint8 BGR ``(height, width, 3)``, and its mask, uint8 ``(height, width)`` of
        indices into the classes of ``SyntheticStreetDataset`` and 255.
    """
    scene = Scene(rng, SUPERSAMPLE * height, SUPERSAMPLE * width)
    draw_sky(scene)
    draw_ground(scene)
    draw_row(scene, -1)
    draw_row(scene, 1)
    draw_things(scene)
    return develop(scene, height, width), scene.mask[::SUPERSAMPLE, ::SUPERSAMPLE].copy()
