"""Read images, masks and groups for :mod:`.splits`; write the lists and where they come from."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from .folder import IMAGE_SUFFIXES, image_files
from .splits import Lists, Size

_MODES = ('1', 'L', 'P', 'I', 'I;16')  # grey, or a palette's indices
_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def parse_size(text: str) -> Size:
    """``'12'`` is a number of images; ``'1/16'`` and ``'0.0625'`` are the same ratio.

    Raises:
        ValueError: Anything else, the number 0, or a ratio outside (0, 1].
    """
    if re.fullmatch('0*[1-9][0-9]*', text):
        return int(text)
    if re.fullmatch(r'[0-9]+/0*[1-9][0-9]*|[0-9]*\.[0-9]+', text) and 0 < Fraction(text) <= 1:
        return Fraction(text)
    raise ValueError(
        f'size {text!r}: give a number of images such as 12, or a ratio in (0, 1] such as 1/16 '
        'or 0.0625'
    )


def parse_sizes(texts: Sequence[str]) -> dict[str, Size]:
    """Sizes by their names in files: ``'1/16'`` → ``'1_16'``, others as they are written.

    Raises:
        ValueError: As :func:`parse_size`, or a size given twice.
    """
    if len(set(texts)) < len(texts):
        raise ValueError(f'sizes {", ".join(texts)}: one is given twice')
    return {text.replace('/', '_'): parse_size(text) for text in texts}


def find_images(folder: str | Path) -> dict[str, Path]:
    """Image files below a folder by stem, sorted: path in the folder, ``/``, without suffix.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, two of one stem, or a name that a list cannot hold.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    found: dict[str, Path] = {}
    for path in image_files(root):
        stem = path.relative_to(root).with_suffix('').as_posix()
        if stem in found:
            one, other = sorted((str(found[stem]), str(path)))
            raise ValueError(f'{one!r} and {other!r} have one stem {stem!r}: rename one')
        if stem != stem.strip() or len(stem.splitlines()) > 1:
            why = 'begins or ends with a space or has a line break; rename it'
            raise ValueError(f'{str(path)!r}: a list cannot hold a name that {why}')
        found[stem] = path
    if not found:
        endings = ', '.join(IMAGE_SUFFIXES)
        raise ValueError(f'no image found in {str(folder)!r}: none of its files ends in {endings}')
    return dict(sorted(found.items()))


def read_list(path: str | Path, images: Mapping[str, Path]) -> list[str]:
    """Sorted stems of a list, one a line.

    Raises:
        ValueError: The list is empty, or names a stem that is no image's.
    """
    lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    stems = sorted({line.strip() for line in lines if line.strip()})
    strangers = [stem for stem in stems if stem not in images]
    if strangers or not stems:
        what = f'names {strangers[0]!r}, but there is no such image' if stems else 'is empty'
        remedy = 'write one image a line, path in the image folder without suffix'
        raise ValueError(f'the list {str(path)!r} {what}: {remedy}')
    return stems


class Masks(NamedTuple):
    """Stems that have a mask, sorted; pixels of each class int64 (N, C); hash of the files."""

    stems: list[str]
    counts: np.ndarray
    sha256: str


def read_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    num_classes: int | None = None,
    ignore_index: int = 255,
) -> Masks:
    """Count the classes in the masks of a folder.

    Args:
        images: Image files by stem.
        folder: Masks with the images' stems: grey or palette index images.
        num_classes: C; by default what the largest label needs.
        ignore_index: Label of pixels that do not count.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A mask without image, unreadable, not of its image's size, no index image,
            or with a label that is no class.
    """
    masks = find_images(folder)
    strangers = [stem for stem in masks if stem not in images]
    if strangers:
        first = str(masks[strangers[0]])
        raise ValueError(
            f'{len(strangers)} masks have no image of their stem, the first is {first!r}: add the '
            'image or take away the mask'
        )

    def read(stem: str) -> tuple[np.ndarray, str]:
        return read_mask(masks[stem], images[stem])

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        reads = track(pool.map(read, masks), 'masks', total=len(masks), transient=True)
        rows, hashes = zip(*reads, strict=True)
    counts = np.zeros((len(masks), max(256, num_classes or 0)), dtype=np.int64)
    counts[:, :256] = rows  # mmseg reads masks as bytes
    if 0 <= ignore_index < 256:
        counts[:, ignore_index] = 0
    width = num_classes or int(np.flatnonzero(counts.any(0)).max(initial=0)) + 1
    for index, label in np.argwhere(counts[:, width:])[:1]:
        raise ValueError(
            f'mask {str(masks[list(masks)[index]])!r} holds the label {width + label}, but the '
            f'classes are 0 ... {width - 1} and {ignore_index} means ignore. Correct --classes or '
            '--ignore-index, or map the values (a 0/255 mask needs 255 → 1)'
        )
    lines = (f'{stem} {file}\n' for stem, file in zip(masks, hashes, strict=True))
    return Masks(list(masks), counts[:, :width], _sha256(''.join(lines).encode()))


def read_mask(path: Path, image: Path) -> tuple[np.ndarray, str]:
    """Pixels of each label 0 ... 255 (256,), and the file's hash."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as file:
            mode, size, labels = file.mode, file.size, np.asarray(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'cannot read the mask {str(path)!r}: {error}') from error
    if mode not in _MODES:
        raise ValueError(
            f'mask {str(path)!r} is a {mode} image. Index masks are needed, grey or palette, whose '
            'values are class numbers: map the colors to classes first'
        )
    expected = image_size(image)
    if size != expected:
        raise ValueError(
            f'mask {str(path)!r} is {size[0]}x{size[1]} pixels, but its image {str(image)!r} '
            f'{expected[0]}x{expected[1]} (EXIF orientation applied): they must be the same size'
        )
    if labels.min() < 0 or labels.max() > 255:
        values = f'{labels.min()} ... {labels.max()}'
        raise ValueError(f'mask {str(path)!r} holds labels {values}: mmseg reads 0 ... 255')
    return np.bincount(labels.ravel().astype(np.uint8), minlength=256), _sha256(content)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as mmcv loads the image: turned as its camera says."""
    try:
        with Image.open(path) as image:  # reads no pixels
            # asking a PNG without EXIF would decode it; a TIFF's size is turned already
            exif = image.getexif() if 'exif' in image.info else {}
            turned = exif.get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            return image.size[::-1] if turned else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'cannot read the image {str(path)!r}: {error}') from error


def read_groups(source: str, stems: Sequence[str]) -> list[str]:
    """Group of each stem.

    Args:
        source: A file with ``stem<TAB>group`` or ``stem,group`` a line, other stems do not
            matter; or a regular expression, searched in the stem, whose first group it is.
        stems: All images.

    Raises:
        ValueError: A stem has no group, or two; a bad line; a bad expression.
    """
    if Path(source).is_file():
        known = _groups_of_file(Path(source))
    else:
        try:
            pattern = re.compile(source)
        except re.error as error:
            what = f'no such file, and no regular expression: {error}'
            raise ValueError(f'--groups {source!r}: {what}') from error
        if not pattern.groups:
            raise ValueError(
                f"--groups {source!r}: no such file; a regex needs (...) as in '^(.*)_'"
            )
        found = {stem: pattern.search(stem) for stem in stems}
        known = {stem: match[1] for stem, match in found.items() if match and match[1] is not None}
    for stem in stems:
        if stem not in known:
            raise ValueError(f'--groups {source!r}: the image {stem!r} gets no group from it')
    return [known[stem] for stem in stems]


def _groups_of_file(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding='utf-8-sig').splitlines()  # spreadsheets write the mark
    delimiter = '\t' if any('\t' in line for line in lines) else ','
    known: dict[str, str] = {}
    for row in csv.reader(lines, delimiter=delimiter):
        if row and (len(row) != 2 or known.setdefault(row[0], row[1]) != row[1]):
            raise ValueError(
                f'{str(path)!r}: {delimiter.join(row)!r} is no line of stem and group, or gives '
                'a stem its second group'
            )
    return known


def share_distance(counts: np.ndarray, target: np.ndarray) -> float:
    """Hellinger distance of class shares: ``sqrt(1 − Σ_c sqrt(p_c q_c))``, in [0, 1].

    Args:
        counts: Pixels of each class (C,); p are its shares. No pixels at all: distance 1.
        target: The same of the shares q.
    """
    if not counts.sum() or not target.sum():
        return 1.0
    roots = np.sqrt(counts / counts.sum()) * np.sqrt(target / target.sum())
    return math.sqrt(max(0.0, 1.0 - math.fsum(roots.tolist())))


def summarize(
    stems: Mapping[str, Sequence[str]], masks: Masks | None, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What is in each list: images, hash, and of those with masks class shares and coverage.

    Args:
        stems: Sorted stems by name of list.
        masks: None: no shares.
        classes: Names of the C classes.
    """
    summary: dict[str, dict[str, Any]] = {}
    row = {stem: index for index, stem in enumerate(masks.stems)} if masks else {}
    for name, part in stems.items():
        own = summary[name] = dict(images=len(part), sha256=_sha256(list_text(part)))
        if masks is None:
            continue
        rows = [row[stem] for stem in part if stem in row]
        counts, total = masks.counts[rows].sum(0), masks.counts.sum(0)
        shares = (counts / max(1, counts.sum())).round(6).tolist()
        there = total > 0  # a label between others that is in no mask is no class to miss
        own['images_with_mask'] = len(rows)
        own['class_share'] = dict(zip(classes, shares, strict=True))
        own['classes_covered'] = f'{(counts > 0).sum()} of {there.sum()}'
        own['classes_missing'] = [
            classes[c] for c in np.flatnonzero(there & (counts == 0)).tolist()
        ]
        own['share_distance'] = round(share_distance(counts, total), 6)
    return summary


def list_warnings(
    lists: Lists,
    summary: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, Path],
    masks: Masks | None,
    classes: Sequence[str] | None,
) -> list[str]:
    """What the user should know, one sentence each. ``classes`` are the names the user gave."""
    found: list[str] = []
    if masks is not None and classes is not None:
        absent = [name for name, n in zip(classes, masks.counts.sum(0), strict=True) if n == 0]
        if absent:
            found.append(f'in no mask at all: {", ".join(absent)}')
    for name, own in summary.items():
        missing = own.get('classes_missing')
        if missing and not name.endswith('unlabeled'):
            found.append(f'{name}: no image has {", ".join(missing)}')
        if not own['images']:
            found.append(f'{name} is empty')
        wanted = lists.asked.get(name, own['images'])
        if abs(own['images'] - wanted) > max(1, wanted / 10):
            found.append(
                f'{name}: {own["images"]} images, {wanted} were asked for, as groups stay whole'
            )
    suffixes = sorted({path.suffix for path in images.values()})
    if len(suffixes) > 1:
        found.append(
            f'the images end in {", ".join(suffixes)}; lists name no suffix, and FolderDataset and '
            'UnlabeledDataset look it up, but other data sets add one, their img_suffix'
        )
    return found


def write_lists(
    out: str | Path,
    stems: Mapping[str, Sequence[str]],
    provenance: Mapping[str, Any],
    force: bool = False,
) -> bool:
    """Write ``<name>.txt`` for each list and ``provenance.json``; the same input, the same bytes.

    Returns:
        Whether anything changed.

    Raises:
        FileExistsError: A file is there with other content, without ``force``; nothing is
            written then.
    """
    contents = {f'{name}.txt': list_text(part) for name, part in stems.items()}
    text = json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    contents['provenance.json'] = text.encode()
    paths = {Path(out) / name: content for name, content in contents.items()}
    changed = [p for p, content in paths.items() if not p.is_file() or p.read_bytes() != content]
    for path in changed:
        if path.exists() and not force:
            remedy = 'choose another --out, or --force to overwrite it'
            raise FileExistsError(f'{str(path)!r} is there and differs: {remedy}')
    Path(out).mkdir(parents=True, exist_ok=True)
    for path in changed:
        path.write_bytes(paths[path])
    return bool(changed)


def list_text(stems: Sequence[str]) -> bytes:
    """One stem a line, UTF-8."""
    return ''.join(f'{stem}\n' for stem in stems).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
