"""VOC 2012, SBD and Cityscapes in miniature, laid out as they are downloaded."""

import io
import tarfile

import numpy as np
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from scipy.io import savemat

SIZE = (12, 9)  # width, height
VOC_TRAIN = ['2007_000032', '2007_000039', '2008_000003']
VOC_VAL = ['2007_000033', '2008_000007']
SBD_TRAIN = ['2008_000009', '2008_000003', '2008_000002', '2008_000007']  # two are VOC's too
SBD_VAL = ['2008_000008', '2007_000033']  # the second is VOC's val
TRAIN_AUG = sorted([*VOC_TRAIN, '2008_000002', '2008_000008', '2008_000009'])
VOC_COUNTS = {'train': 3, 'val': 2, 'train_aug': 6}

CITIES = {'train': {'aachen': 3, 'jena': 2}, 'val': {'lindau': 2}}
CITY_COUNTS = {'train': 5, 'val': 2}


def labels(seed, values):
    """A label map of a few values, uint8 (9, 12)."""
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), SIZE[::-1])


def png(values, palette=None):
    """An index PNG: grey, or with a palette as VOC's."""
    image, buffer = Image.fromarray(values), io.BytesIO()
    if palette is not None:
        image.putpalette([channel for color in palette for channel in color])
    image.save(buffer, 'PNG')
    return buffer.getvalue()


def picture(seed, kind='JPEG'):
    values = np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def voc_mask(stem):
    return labels(int(stem[-2:]), [0, 1, 20, 255])


def sbd_mask(stem):
    return labels(100 + int(stem[-2:]), [0, 3, 15])


def mat(mask):
    """A cls/*.mat of SBD: nested structs, compressed."""
    boundaries = np.empty((20, 1), dtype=object)
    boundaries[:] = [[np.zeros(SIZE[::-1], np.uint8)]] * 20
    content = dict(
        Boundaries=boundaries,
        Segmentation=mask,
        CategoriesPresent=np.unique(mask[mask > 0])[:, None],
    )
    buffer = io.BytesIO()
    savemat(buffer, {'GTcls': content}, do_compression=True)
    return buffer.getvalue()


def voc_files():
    """Content by path of VOCtrainval_11-May-2012.tar."""
    top, files = 'VOCdevkit/VOC2012', {}
    palette = PascalVOCDataset.METAINFO['palette']
    for stem in {*VOC_TRAIN, *VOC_VAL, *TRAIN_AUG, '2012_004331'}:  # the last has no mask
        files[f'{top}/JPEGImages/{stem}.jpg'] = picture(int(stem[-2:]))
        files[f'{top}/Annotations/{stem}.xml'] = b'<annotation/>'
    for stem in (*VOC_TRAIN, *VOC_VAL):
        for folder in ('SegmentationClass', 'SegmentationObject'):
            files[f'{top}/{folder}/{stem}.png'] = png(voc_mask(stem), palette)
    for part, stems in (('train', VOC_TRAIN), ('val', VOC_VAL), ('trainval', VOC_TRAIN + VOC_VAL)):
        files[f'{top}/ImageSets/Segmentation/{part}.txt'] = text(stems)
    files[f'{top}/ImageSets/Main/train.txt'] = b'other\n'
    return files


def sbd_files():
    """Content by path of benchmark.tgz."""
    top, files = 'benchmark_RELEASE/dataset', {}
    for stem in (*SBD_TRAIN, *SBD_VAL):
        files[f'{top}/cls/{stem}.mat'] = mat(sbd_mask(stem))
        files[f'{top}/inst/{stem}.mat'] = b'not read'
        files[f'{top}/img/{stem}.jpg'] = b'not read'
    files[f'{top}/train.txt'], files[f'{top}/val.txt'] = text(SBD_TRAIN), text(SBD_VAL)
    return files


def text(lines, end='\n'):
    return ''.join(line + end for line in lines).encode()


def write_tree(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_archive(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked_voc(folder):
    """VOC unpacked in a folder; returns its data root."""
    write_tree(folder, voc_files())
    return folder / 'VOCdevkit/VOC2012'


def city_stems(part):
    return [f'{city}/{city}_{i:06}_000019' for city, n in CITIES[part].items() for i in range(n)]


def city_labels(stem):
    """All 19 classes, ids that do not count, and -1 as a PNG holds it."""
    return labels(sum(stem.encode()), [*range(34), 255])


def cityscapes(folder):
    """leftImg8bit and gtFine as they are unpacked; labelTrainIds are not among the downloads."""
    for part in CITIES:
        for stem in city_stems(part):
            base = f'gtFine/{part}/{stem}_gtFine'
            write_tree(folder, {
                f'leftImg8bit/{part}/{stem}_leftImg8bit.png': picture(sum(stem.encode()), 'PNG'),
                f'{base}_labelIds.png': png(city_labels(stem)),
                f'{base}_instanceIds.png': png(city_labels(stem)),
                f'{base}_polygons.json': b'{"objects": []}',
            })  # fmt: skip
    return folder
