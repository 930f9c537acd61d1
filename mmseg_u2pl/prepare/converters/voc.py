"""PASCAL VOC 2012 with the extra masks of SBD: 10 582 training images ("train_aug").

Sources: Everingham et al., The PASCAL Visual Object Classes Challenge 2012; Hariharan et al.,
Semantic Contours from Inverse Detectors, ICCV 2011 (SBD).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from scipy.io import loadmat

from ...datasets.threads import in_threads
from .files import check_masks, read_stems, require_count, require_files, write_atomic

COUNTS = {'train': 1464, 'val': 1449, 'train_aug': 10_582}
LISTS = 'ImageSets/Segmentation'
SOURCE = (
    'VOC is VOCtrainval_11-May-2012.tar, "training/validation data" on the page of the Visual '
    'Object Classes Challenge 2012: --data-root is its VOCdevkit/VOC2012. SBD is benchmark.tgz on '
    'the page "Semantic Contours from Inverse Detectors" of Berkeley: --sbd is its folder "dataset"'
)


def prepare_voc(
    root: str | Path, sbd: str | Path | None = None, counts: Mapping[str, int] = COUNTS
) -> dict[str, int]:
    """Make ``SegmentationClassAug`` and ``train_aug.txt``, and check all masks.

    train_aug is VOC's train and SBD's train and val without VOC's val. VOC's masks are taken where
    both have one. Finished masks are kept, so an interrupted run can be started again.

    Args:
        root: ``VOCdevkit/VOC2012``, unpacked.
        sbd: Folder ``dataset`` of SBD, unpacked; not needed where ``train_aug.txt`` exists.
        counts: Images of train, val and train_aug.

    Returns:
        ``counts``, as found.

    Raises:
        FileNotFoundError: Names what is missing and where it is downloaded.
        ValueError: Names the list or mask that is damaged or incomplete.
    """
    root = Path(root)
    lists = {part: root / LISTS / f'{part}.txt' for part in counts}
    require_files((lists['train'], lists['val']), SOURCE)
    stems = {part: read_stems(lists[part]) for part in ('train', 'val')}
    masks = {s: root / f'SegmentationClass/{s}.png' for s in chain(*stems.values())}
    require_files(masks.values(), SOURCE)
    if sbd is not None or not lists['train_aug'].is_file():
        folder = root / 'SBD' if sbd is None else Path(sbd)
        listed = [folder / 'train.txt', folder / 'val.txt']
        require_files(listed, SOURCE)
        extra = set(chain(*map(read_stems, listed)))
        stems['train_aug'] = sorted((extra | set(stems['train'])) - set(stems['val']))
        _make_masks(root, folder, stems['train_aug'], set(stems['train']))
    else:
        stems['train_aug'] = read_stems(lists['train_aug'])
    for part, found in stems.items():
        require_count(str(lists[part]), len(set(found)), counts[part], SOURCE)
    masks.update({s: root / f'SegmentationClassAug/{s}.png' for s in stems['train_aug']})
    images = [root / f'JPEGImages/{stem}.jpg' for stem in masks]
    require_files([*masks.values(), *images], SOURCE)
    check_masks(list(masks.values()), images, len(PascalVOCDataset.METAINFO['classes']))
    write_atomic(lists['train_aug'], ''.join(f'{s}\n' for s in stems['train_aug']).encode())
    return {part: len(found) for part, found in stems.items()}


def _make_masks(root: Path, sbd: Path, stems: list[str], voc: set[str]) -> None:
    """Make the missing masks: VOC's for stems in ``voc``, SBD's for the others."""

    def make(stem: str) -> None:
        if stem in voc:
            content = (root / f'SegmentationClass/{stem}.png').read_bytes()
        else:
            content = _index_png(sbd_mask(sbd / f'cls/{stem}.mat'))
        write_atomic(root / f'SegmentationClassAug/{stem}.png', content)

    todo = [stem for stem in stems if not (root / f'SegmentationClassAug/{stem}.png').is_file()]
    require_files((sbd / f'cls/{stem}.mat' for stem in todo if stem not in voc), SOURCE)
    list(in_threads(make, todo, 'writing masks'))


def sbd_mask(path: Path) -> np.ndarray:
    """Class of each pixel, uint8 (H, W), of a ``cls/*.mat``. Raises ValueError if it is damaged."""
    try:
        return np.asarray(loadmat(path)['GTcls'][0]['Segmentation'][0], dtype=np.uint8)
    except Exception as error:  # scipy raises many kinds
        raise ValueError(f'cannot read {str(path)!r}: {error}. Unpack SBD again') from error


def _index_png(labels: np.ndarray) -> bytes:
    """An index PNG of labels (H, W), uint8, in VOC's colors."""
    image, buffer = Image.fromarray(labels), io.BytesIO()
    image.putpalette(np.array(PascalVOCDataset.METAINFO['palette'], np.uint8).tobytes())
    image.save(buffer, 'PNG')
    return buffer.getvalue()
