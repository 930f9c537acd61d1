"""Readers of lists, masks and provenance: anything in a file is read rightly, or refused by its name."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_u2pl.datasets import LoadMask
from mmseg_u2pl.datasets.files import listed_images
from mmseg_u2pl.datasets.provenance import list_record

NAMES = ('a.png', 'b.jpg', 'b.png', 'deep/c.tif', 'ä ö.png', 'no suffix.png', 'x.y.png')
WORDS = st.sampled_from([*NAMES, 'a', 'b', 'deep/c', './a.png', '../a', '/a.png', 'd', ' a ', ''])


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('images')
    for name in NAMES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return root


def read(path, content, reader):
    """What a reader makes of a file, or the message of an expected error, which names the file."""
    path.write_bytes(content)
    try:
        return reader(str(path))
    except (ValueError, FileNotFoundError) as raised:
        error = raised
    assert path.name in str(error)
    return None


@given(st.lists(WORDS, max_size=5) | st.lists(st.text(max_size=6), max_size=4))
def test_a_list_of_any_lines(folder, lines):
    path = folder.parent / 'list.txt'
    content = '\n'.join(lines).encode('utf-8', 'surrogatepass')
    found = read(path, content, lambda name: listed_images(name, folder))
    if found is None:
        return
    asked = [line.strip() for line in '\n'.join(lines).split('\n') if line.strip()]
    assert len(found) == len(set(found)) == len(asked)
    for name, word in zip(found, asked, strict=True):
        assert name in NAMES
        assert name.startswith(word.removeprefix('./'))


@given(st.binary(max_size=60))
def test_a_list_of_any_bytes(folder, content):
    found = read(folder.parent / 'list.txt', content, lambda name: listed_images(name, folder))
    assert found is None or set(found) <= set(NAMES)


def encoded(array, mode, kind):
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, kind)
    return file.getvalue()


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    values=st.dictionaries(st.integers(0, 255), st.integers(0, 255), max_size=4) | st.none(),
    kind=st.sampled_from(['PNG', 'TIFF', 'BMP']),
    cut=st.floats(0, 1),
)
def test_a_mask_is_its_values_or_is_refused(seed, size, values, kind, cut):
    rng = np.random.default_rng(seed)
    choices = list(values) if values else [0, 1, 255]
    array = rng.choice(choices, size).astype(np.uint8)
    if cut < 0.2:
        array[0, 0] = rng.integers(0, 256)  # perhaps not among the values
    expected = [
        [(values or {}).get(v, None if values else v) for v in row] for row in array.tolist()
    ]
    content = encoded(array, 'L', kind)
    load = LoadMask(values=values or None)
    if any(value is None for row in expected for value in row):
        with pytest.raises(ValueError, match='a_name'):
            load.decode(content, 'a_name')
        return
    assert load.decode(content, 'a_name').tolist() == expected
    try:
        part: Any = load.decode(content[: int(cut * len(content))], 'a_name')
    except ValueError as error:
        part = error
    # what is cut off may be no pixel
    assert 'a_name' in str(part) if isinstance(part, ValueError) else part.tolist() == expected


@given(st.binary(max_size=80))
def test_a_mask_of_any_bytes_is_refused(content):
    with pytest.raises(ValueError, match='a_name'):
        LoadMask().decode(content, 'a_name')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab', max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(['lists', 'list', 'sha256', 'family', 'options', 'tool', 'x']), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_provenance_is_a_record_or_refused(folder, whole):
    path = folder.parent / 'provenance.json'
    record = read(
        path, json.dumps(whole).encode(), lambda _: list_record(folder.parent / 'list.txt')
    )
    assert record is None or isinstance(record, dict)
    if isinstance(whole, dict) and isinstance(whole.get('lists'), dict) and record is not None:
        known = whole['lists'].get('list') or {}
        assert {key: record[key] for key in known} == known
