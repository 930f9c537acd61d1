"""Synthetic street scenes for the demo: eight classes, drawn with numpy and OpenCV, no download."""

import contextlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from .elements import render_scene

GENERATOR = 'mmseg_u2pl.prepare.synthetic'
VERSION = 1  # raise it whenever a pixel may change, so that old folders are rebuilt
MIN_SIDE = 32  # pixels
SPLITS = ('train', 'val', 'test')  # a split's position seeds its scenes: append only


def write_dataset(
    root: str | Path, *, num_labeled: int = 12, num_unlabeled: int = 300, num_val: int = 40,
    num_test: int = 100, height: int = 96, width: int = 128,
) -> Path:  # fmt: skip
    """Write ``img_dir``, ``ann_dir`` and ``splits`` under ``root``, unless they are there already.

    Scene ``i`` of a split depends on ``(split, i)`` alone. The first scenes of ``train`` are
    the labeled ones; the unlabeled ones get no mask. So ``num_labeled=312, num_unlabeled=0`` gives
    the same images with all masks, for full supervision. One process at a time.

    Raises:
        ValueError: A count or a size is too small or no integer.
        FileExistsError: ``root`` holds files that this generator did not write.
    """
    wanted = dict(num_labeled=num_labeled, num_unlabeled=num_unlabeled, num_val=num_val,
                  num_test=num_test, height=height, width=width)  # fmt: skip
    for name, value in wanted.items():
        least = dict(num_labeled=1, height=MIN_SIDE, width=MIN_SIDE).get(name, 0)
        if not isinstance(value, int) or value < least:
            raise ValueError(f'{name} must be an integer >= {least}, got {value!r}')
    root = Path(root)
    meta = dict(generator=GENERATOR, version=VERSION, **wanted)
    path, found = root / 'meta.json', None
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads(path.read_text())
    if found == {**meta, 'complete': True}:
        return root
    ours = isinstance(found, dict) and found.get('generator') == GENERATOR
    if not ours and root.exists() and any(root.iterdir()):
        raise FileExistsError(f'{root} holds files of another origin: name a new or empty folder')
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**meta, 'complete': False}))  # until the last file is written
    for name in ('img_dir', 'ann_dir', 'splits'):
        shutil.rmtree(root / name, ignore_errors=True)
    counts = dict(train=num_labeled + num_unlabeled, val=num_val, test=num_test)
    scenes = [(split, index) for split in SPLITS for index in range(counts[split])]
    for split, index in track(scenes, 'Drawing street scenes'):
        rng = np.random.default_rng([0, SPLITS.index(split), index])
        image, mask = render_scene(rng, height, width)
        files = {f'img_dir/{split}/{split}_{index:05d}.jpg': image}
        if split != 'train' or index < num_labeled:
            files[f'ann_dir/{split}/{split}_{index:05d}.png'] = mask
        for name, pixels in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(cv2.imencode(name[-4:], pixels)[1].tobytes())
    (root / 'splits').mkdir()
    stems = [f'train_{index:05d}\n' for index in range(counts['train'])]
    (root / 'splits' / 'labeled.txt').write_text(''.join(stems[:num_labeled]))
    (root / 'splits' / 'unlabeled.txt').write_text(''.join(stems[num_labeled:]))
    path.write_text(json.dumps({**meta, 'complete': True}, indent=1))
    return root
