"""PASCAL VOC 2012 with the extra masks of SBD: 10 582 training images ("train_aug").

Sources: Everingham et al., The PASCAL Visual Object Classes Challenge 2012; Hariharan et al.,
Semantic Contours from Inverse Detectors, ICCV 2011 (SBD).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from scipy.io import loadmat

from .files import (
    check_masks,
    in_threads,
    read_lines,
    require_count,
    require_files,
    unpack,
    write_atomic,
)

COUNTS = {'train': 1464, 'val': 1449, 'train_aug': 10_582}
LISTS = 'ImageSets/Segmentation'
VOC_SOURCE = (
    'VOCtrainval_11-May-2012.tar, "training/validation data" on the page of the Visual Object '
    'Classes Challenge 2012, has it: give the archive as --voc, or the unpacked '
    'VOCdevkit/VOC2012 as --data-root; if you did, it is not whole: download it again'
)
SBD_SOURCE = (
    'benchmark.tgz, on the page "Semantic Contours from Inverse Detectors" (SBD) of Berkeley, has '
    'it: give the archive, or its unpacked folder "dataset", as --sbd; if you did, it is not '
    'whole: download it again'
)
VOC_FILES = (
    r'(?:^|/)VOC2012/(JPEGImages/\w+\.jpg|SegmentationClass/\w+\.png'
    r'|ImageSets/Segmentation/\w+\.txt)$'
)
SBD_FILES = r'(?:^|/)dataset/(cls/\w+\.mat|(?:train|val)\.txt)$'


def prepare_voc(
    root: str | Path,
    voc: str | Path | None = None,
    sbd: str | Path | None = None,
    counts: Mapping[str, int] = COUNTS,
) -> dict[str, int]:
    """Make ``SegmentationClassAug`` and ``train_aug.txt``, or check those that are there.

    train_aug is VOC's train and SBD's train and val without VOC's val. VOC's own masks are taken
    where both have one. Finished files are kept, so an interrupted run goes on where it stopped;
    ``train_aug.txt`` comes last, when all masks have passed the checks.

    Args:
        root: ``VOCdevkit/VOC2012``.
        voc: ``VOCtrainval_11-May-2012.tar``; not needed where it is unpacked at ``root``.
        sbd: ``benchmark.tgz``, unpacked to ``root/SBD``, or its unpacked folder ``dataset``; not
            needed where all masks are made.
        counts: Images of train, val and train_aug.

    Returns:
        ``counts``, as found.

    Raises:
        FileNotFoundError: Names what is missing and where it is downloaded.
        ValueError: Names the archive, list or mask that is damaged or incomplete.
    """
    root = Path(root)
    if voc is not None:
        unpack(Path(voc), root, VOC_FILES)
    paths = {part: root / LISTS / f'{part}.txt' for part in counts}
    require_files((paths['train'], paths['val']), VOC_SOURCE)
    train, val = (read_lines(paths[part]) for part in ('train', 'val'))
    for part, stems in (('train', train), ('val', val)):
        require_count(str(paths[part]), len(set(stems)), counts[part], VOC_SOURCE)
    own = [root / 'SegmentationClass' / f'{stem}.png' for stem in (*train, *val)]
    require_files(own, VOC_SOURCE)

    if sbd is not None or not paths['train_aug'].is_file():
        train_aug = _make_masks(root, sbd, train, val, counts['train_aug'])
    else:
        train_aug = read_lines(paths['train_aug'])
        require_count(str(paths['train_aug']), len(set(train_aug)), counts['train_aug'], SBD_SOURCE)
    masks = [root / 'SegmentationClassAug' / f'{stem}.png' for stem in train_aug]
    images = [root / 'JPEGImages' / f'{stem}.jpg' for stem in (*train_aug, *val)]
    require_files(masks, SBD_SOURCE)
    require_files(images, VOC_SOURCE)
    check_masks([*masks, *own[len(train) :]], images, len(PascalVOCDataset.METAINFO['classes']))
    write_atomic(paths['train_aug'], ''.join(f'{stem}\n' for stem in train_aug).encode())
    return {'train': len(train), 'val': len(val), 'train_aug': len(train_aug)}


def _make_masks(
    root: Path, sbd: str | Path | None, train: list[str], val: list[str], expected: int
) -> list[str]:
    """Masks of train_aug that are not there yet; returns its sorted stems."""
    extra = _sbd_folder(root, sbd)
    lists = [extra / 'train.txt', extra / 'val.txt']
    require_files(lists, SBD_SOURCE)
    listed = {stem for path in lists for stem in read_lines(path)}
    stems = sorted({*train, *listed} - set(val))
    require_count(f'train_aug, from the lists of VOC and {str(extra)!r}', len(stems), expected,
                  f'the lists are not the original ones. {SBD_SOURCE}')  # fmt: skip
    target, own = root / 'SegmentationClassAug', set(train)
    todo = [stem for stem in stems if not (target / f'{stem}.png').is_file()]
    require_files((extra / 'cls' / f'{stem}.mat' for stem in todo if stem not in own), SBD_SOURCE)

    def make(stem: str) -> None:
        if stem in own:
            content = (root / 'SegmentationClass' / f'{stem}.png').read_bytes()
        else:
            content = _index_png(sbd_mask(extra / 'cls' / f'{stem}.mat'))
        write_atomic(target / f'{stem}.png', content)

    in_threads(make, todo, 'writing masks')
    return stems


def _sbd_folder(root: Path, sbd: str | Path | None) -> Path:
    """The folder of ``cls``, unpacked from the archive if that is what was given."""
    if sbd is None:
        raise FileNotFoundError(f'the masks of SBD are missing: {SBD_SOURCE}')
    path = Path(sbd)
    if path.is_dir():
        return path / 'dataset' if (path / 'dataset').is_dir() else path
    unpack(path, root / 'SBD', SBD_FILES)
    return root / 'SBD'


def sbd_mask(path: Path) -> np.ndarray:
    """Class of each pixel, uint8 (H, W), of a ``cls/*.mat``; SBD marks no pixels as ignored.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return np.asarray(loadmat(path)['GTcls'][0]['Segmentation'][0], dtype=np.uint8)
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise ValueError(
            f'cannot read {str(path)!r}: {error}. Delete it and unpack benchmark.tgz again'
        ) from error


def _index_png(labels: np.ndarray) -> bytes:
    """An index PNG in VOC's colors."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    palette = PascalVOCDataset.METAINFO['palette']
    colors[: len(palette)] = palette
    colors[255] = 224, 224, 192
    image, buffer = Image.fromarray(labels), io.BytesIO()
    image.putpalette(colors.tobytes())
    image.save(buffer, 'PNG')
    return buffer.getvalue()
