"""A user's own folders: find images, read lists of them, and match masks by stem.

A *stem* is a file's path in its folder, with ``/`` and without suffix: ``city/0001``.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def image_names(folder: str | Path) -> list[str]:
    """Names in the folder, with ``/``, of every image below it; hidden ones are left out.

    Sorted folder by folder. Hidden are names that begin with a dot: copies that systems and
    notebooks leave behind, often no images at all.
    """
    names: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        inside = os.path.relpath(place, folder).replace(os.sep, '/')
        prefix = '' if inside == '.' else f'{inside}/'
        names += [
            prefix + name
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
        ]
    return sorted(names, key=lambda name: name.split('/'))


def image_files(folder: str | Path) -> list[Path]:
    """Every image below a folder, in subfolders too, sorted."""
    return [Path(folder, name) for name in image_names(folder)]


def stem_of(name: str) -> str:
    """A name in a folder without the suffix of an image, other dots stay.

    Accented letters have two spellings in Unicode, and systems differ in which they write: here
    they get one.
    """
    stem = name.rpartition('.')[0] if name.lower().endswith(IMAGE_SUFFIXES) else name
    return normalize('NFC', stem)


def images_by_stem(folder: str | Path) -> dict[str, list[str]]:
    """Names of the images below a folder by stem, as :func:`image_names`.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: It has no image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    found: dict[str, list[str]] = {}
    for name in image_names(folder):
        found.setdefault(stem_of(name), []).append(name)
    if not found:
        endings = ', '.join(IMAGE_SUFFIXES)
        raise ValueError(f'no image found in {str(folder)!r}: none of its files ends in {endings}')
    return found


class LineError(NamedTuple):
    """What is wrong with a line of a list."""

    line: int
    problem: str
    missing: bool = False  # a file is not there


def raise_first(path: str | Path, errors: Sequence[LineError]) -> None:
    """Name the first wrong line of a list, and how many there are; no errors, no exception.

    Args:
        path: The list; empty: the errors are those of a folder without list.
        errors: In any order.

    Raises:
        FileNotFoundError: It names a file that is not there.
        ValueError: Anything else.
    """
    if not errors:
        return
    first = min(errors)
    count = (
        f' ({len(errors)} {"lines are wrong" if path else "are like this"})' if errors[1:] else ''
    )
    message = (
        (f'the list {str(path)!r}, line {first.line}: ' if path else '') + first.problem + count
    )
    raise FileNotFoundError(message) if first.missing else ValueError(message)


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and text of a list's lines, without blank ones; read as they are asked for.

    Raises:
        FileNotFoundError: No such list.
        ValueError: It is no UTF-8 text.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no list {str(path)!r} (from {Path.cwd()})')
    try:
        with open(path, encoding='utf-8-sig') as lines:  # editors may write a mark first
            for number, line in enumerate(lines, 1):  # a name may hold what splitlines() splits at
                if name := line.strip():
                    yield number, name
    except UnicodeDecodeError as error:
        raise ValueError(f'the list {str(path)!r} is no UTF-8 text: save it as UTF-8') from error


def listed_images(
    path: str | Path,
    folder: str | Path,
    img_suffix: str | None = None,
    images: Mapping[str, list[str]] | None = None,
) -> dict[str, int]:
    """Images that a list names, in its order: names in the image folder and their lines, from 1.

    Args:
        path: The list: UTF-8, one image a line, path in the folder with or without suffix.
        folder: Where the images are.
        img_suffix: What a line without suffix lacks; the files are not looked at then. None:
            found in the folder.
        images: :func:`images_by_stem` of the folder, from a caller that has it.

    Raises:
        FileNotFoundError: No such list or folder; a line names no image in the folder.
        ValueError: An empty list; a line that leaves the folder, names an image a second time
            or a stem of two images.
    """
    if img_suffix is None and images is None:
        images = images_by_stem(folder)
    found: dict[str, int] = {}
    errors: list[LineError] = []
    empty = True
    for number, text in numbered_lines(path):
        empty = False
        name = posixpath.normpath(text)
        if os.path.isabs(text) or name.split('/', 1)[0] == '..':
            problem = f'{text!r} leaves the image folder {str(folder)!r}: write a path inside it'
            errors.append(LineError(number, problem))
            continue
        if images is None:
            has_suffix = name.lower().endswith(IMAGE_SUFFIXES)
            name = name if has_suffix else f'{name}{img_suffix}'
        else:
            names = _names_of(name, images)
            if len(names) != 1:
                errors.append(_no_single_image(number, text, folder, names, images))
                continue
            name = names[0]
        first = found.setdefault(name, number)
        if first != number:
            problem = f'{text!r} is the image of line {first} again: remove one'
            errors.append(LineError(number, problem))
    raise_first(path, errors)
    if empty:
        raise ValueError(f'the list {str(path)!r} is empty: write one image a line')
    return found


def _names_of(name: str, images: Mapping[str, list[str]]) -> list[str]:
    """Files that a line may mean: that name's, or all of that stem."""
    exact = normalize('NFC', name)
    same_stem = images.get(stem_of(name), [])
    return [n for n in same_stem if normalize('NFC', n) == exact] or images.get(exact, [])


def _no_single_image(
    number: int, text: str, folder: str | Path, names: list[str], images: Mapping[str, list[str]]
) -> LineError:
    if names:
        return LineError(
            number, f'{text!r} is the stem of {names[0]!r} and {names[1]!r}: write the suffix too'
        )
    alike = images.get(stem_of(posixpath.normpath(text)))
    hint = (
        f'there is {alike[0]!r}' if alike else f'its images are named like {next(iter(images))!r}'
    )
    return LineError(number, f'no image {text!r} in {str(folder)!r}; {hint}', missing=True)


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Images of one folder and masks of another, matched by stem whatever their suffixes.

    Without ``ann_file``: every image that has a mask. Otherwise those that the list names, one a
    line, with or without suffix; each needs a mask. For training, validation and test.

    Args:
        data_prefix: ``dict(img_path=..., seg_map_path=...)``, both searched recursively.
        **kwargs: As in mmseg's ``BaseSegDataset``; ``metainfo=dict(classes=(...))`` names the
            classes.

    Raises:
        FileNotFoundError: A folder or list is missing; a line names no image, or one without mask.
        ValueError: No folder of masks; a bad line; an image or mask of two suffixes.
        TypeError: ``img_suffix`` or ``seg_map_suffix``: nothing would read them.
    """

    def __init__(self, *, data_prefix: dict, **kwargs: Any) -> None:
        for key in ('img_suffix', 'seg_map_suffix'):
            if key in kwargs:
                raise TypeError(
                    f'{key}={kwargs[key]!r}: FolderDataset finds any suffix; remove the setting, '
                    'or take BaseSegDataset if masks are named otherwise than their images'
                )
        if not {'img_path', 'seg_map_path'} <= set(data_prefix):
            raise ValueError(
                f'data_prefix={dict(data_prefix)!r}: FolderDataset needs the folders img_path and '
                'seg_map_path; images without masks are an UnlabeledDataset'
            )
        super().__init__(data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict an image: ``img_path``, ``seg_map_path`` and what mmseg's transforms expect."""
        folder, mask_folder = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        images, masks = images_by_stem(folder), images_by_stem(mask_folder)
        errors: list[LineError] = []
        if self.ann_file:
            listed = listed_images(self.ann_file, folder, images=images)
        else:
            listed = {name: 0 for stem in images if stem in masks for name in images[stem]}
            if not listed:
                raise FileNotFoundError(
                    f'no image in {folder!r} has a mask of its stem in {mask_folder!r}: images are '
                    f'like {next(iter(images.values()))[0]!r}, masks like '
                    f'{next(iter(masks.values()))[0]!r}. Name masks as their images, or take '
                    'BaseSegDataset with img_suffix and seg_map_suffix'
                )
        owner: dict[str, str] = {}
        for name, line in listed.items():
            stem = stem_of(name)
            names = masks.get(stem, [])
            if owner.setdefault(stem, name) != name:
                problem = (
                    f'{owner[stem]!r} and {name!r} in {folder!r} have one stem, so one mask: keep '
                    'one, or write a list that names one with its suffix'
                )
                errors.append(LineError(line, problem))
            elif not names:
                problem = (
                    f'the image {name!r} has no mask {stem!r} with any suffix in {mask_folder!r}: '
                    'add it, or take the line away'
                )
                errors.append(LineError(line, problem, missing=True))
            elif len(names) > 1:
                problem = (
                    f'{names[0]!r} and {names[1]!r} in {mask_folder!r} are both the mask of the '
                    f'image {name!r}: keep one, and masks in a folder of their own'
                )
                errors.append(LineError(line, problem))
        raise_first(self.ann_file, errors)
        return [
            dict(
                img_path=os.path.join(folder, name),
                seg_map_path=os.path.join(mask_folder, masks[stem_of(name)][0]),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for name in listed
        ]
