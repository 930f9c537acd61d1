"""Synthetic street scenes for the demo: eight classes, drawn with numpy and OpenCV, no download.

A scene is a small 3-D street (meters; x right, y up, z ahead) seen by a pinhole camera and painted
from far to near. Materials, light, weather and camera are each drawn from a *continuum*, and the
color ranges of the classes overlap: a dozen labeled scenes leave most looks unseen, while several
hundred unlabeled ones fill the gaps step by step, the setting in which pseudo-labels can spread.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from .elements import render_scene
from .scene import MIN_SIDE

GENERATOR = 'mmseg_u2pl.prepare.synthetic'
VERSION = 1  # raise it whenever a pixel may change, so that old folders are rebuilt
SPLITS = ('train', 'val', 'test')  # a split's position seeds its scenes: append only


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
