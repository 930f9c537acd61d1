"""The HTML page that compares methods."""

import html
import io
import json
import re
import shutil
import subprocess
import warnings
import zipfile
from base64 import b64decode
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import runs
import tiny
from PIL import Image

from mmseg_u2pl.analysis.page import chart, write_page
from mmseg_u2pl.analysis.run_folder import RunFolder

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
CLASSES = ('cat', 'dog')
LISTS = dict(name='u2pl 1_16', family='u2pl', list_name='1_16', digest='11111111')
CONFIG = """
train_cfg = dict(max_iters=4, val_interval=2)
val_cfg = dict(type='ValLoop')
model = dict(type='A')
randomness = dict(seed={seed})
default_hooks = dict(checkpoint=dict(save_best='{prefix}mIoU'))
load_from = {load_from!r}
test_dataloader = dict(dataset=dict(type='FolderDataset'))
"""


def metrics(scores, prefix=''):
    """What a validation or test writes of (IoU of cat, of dog)."""
    values = {f'IoU.{name}': score for name, score in zip(CLASSES, scores, strict=True)}
    return {f'{prefix}{key}': v for key, v in {**values, 'mIoU': sum(scores) / 2}.items()}


def training(folder, seed, curve, tests, prefix='', counts=None, lists=LISTS):
    """A work dir with its tests, as the tools leave it.

    ``curve`` and ``tests``: IoU of cat and dog at 2 and 4 iterations, on val and on test.
    """
    best = max((2, 4), key=lambda n: sum(curve[n]))
    dump(folder / '1', CONFIG.format(seed=seed, prefix=prefix, load_from=None))
    lines = [{'loss': 1.0, 'time': 60.0, 'step': n, 'memory': 2048} for n in curve]
    if prefix:
        lines += [{'semi/reliable_share': 0.5 + n / 10, 'step': n} for n in curve]
    lines += [{**metrics(scores, prefix), 'step': n} for n, scores in curve.items()]
    (folder / '1/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    name = prefix.replace('/', '_')
    for path in ('iter_4.pth', f'best_{name}mIoU_iter_{best}.pth'):
        with zipfile.ZipFile(folder / path, 'w') as file:
            file.writestr('weights', '')
    for test, iteration in (('test', 4), ('test_best', best)):
        checkpoint = 'iter_4.pth' if test == 'test' else f'best_{name}mIoU_iter_{best}.pth'
        text = CONFIG.format(seed=seed, prefix=prefix, load_from=checkpoint)
        log = dump(folder / test / '2', text)
        found = {**metrics(tests[iteration], prefix), 'protocol': lists, 'scored_on': LISTS}
        (log / '2.json').write_text(json.dumps(found))
        if counts is not None:
            np.savez(log / 'per_image.npz', **{f'{prefix}{k}': v for k, v in counts.items()})
    return folder


def dump(log, config):
    (log / 'vis_data').mkdir(parents=True)
    (log / 'vis_data/config.py').write_text(config)
    return log


def areas(*shares):
    """Counts of three images of 100 pixels a class, of which these shares are right."""
    intersect = np.array([[100 * share] * 2 for share in shares], int)
    return dict(paths=np.array(['a.png', 'b.png', 'c.png']), intersect=intersect,
                union=np.full((3, 2), 100))  # fmt: skip


@pytest.fixture
def methods(tmp_path):
    """Two seeds of a baseline, which overfits, and of a method."""
    base = [
        training(tmp_path / f'b{seed}', seed, {2: (50, 30), 4: (40, 20)},
                 {2: (48 + seed, 32), 4: (40, 20 + seed)}, counts=areas(0.3, 0.3, 0.3))
        for seed in (0, 1)
    ]  # fmt: skip
    other = [
        training(tmp_path / f'm{seed}', seed, {2: (20, 20), 4: (60, 30)},
                 {4: (50, 30)}, 'teacher/', areas(*[0.4 + 0.1 * seed] * 3))
        for seed in (0, 1)
    ]  # fmt: skip
    return {'baseline': base, 'method': other}


def text_of(path):
    """The words of a page, without its drawings."""
    page = re.sub(r'<(style|svg).*?</\1>', ' ', path.read_text(), flags=re.DOTALL)
    return ' '.join(html.unescape(re.sub(r'<[^>]+>', ' ', page)).split())


def test_the_numbers_of_the_page(methods, tmp_path):
    path = write_page(methods, tmp_path / 'out/report.html')
    text = text_of(path)
    assert path.with_suffix('.md').read_text().startswith('| method | seeds | mIoU |')
    # last: 30 and 30.5 against 40; best on val: 40 and 40.5 against 40
    assert 'method − baseline, last checkpoint +9.8 mIoU' in text
    assert 'By seed: +10.0 (0), +9.5 (1)' in text
    assert 'different length' not in text
    assert 'method − baseline, best on val −0.2 mIoU' in text
    assert 'baseline 30.2 ± 0.4 at 4, 4 40.2 ± 0.4 at 2, 2' in text
    assert 'method 40.0 ± 0.0 at 4, 4 40.0 ± 0.0 at 4, 4' in text
    assert 'cat +10.0 50.0 ± 0.0 40.0 ± 0.0 dog +9.5 30.0 ± 0.0 20.5 ± 0.7' in text
    assert 'Trained on u2pl 1_16. Scored on u2pl 1_16.' in text
    assert 'baseline 4.0 ± 0.0 2.0 ± 0.0' in text  # 4 steps of a minute; 2048 MiB
    # every image gains 10 points, in the second seed all 20: the draws agree
    assert text.count('95 % over test images: +15.0 to +15.0') == 2
    assert 'No pictures: ValueError' in text


def test_a_chart_has_a_line_for_each_network_and_seed(methods, tmp_path):
    page = write_page(methods, tmp_path / 'report.html').read_text()
    val, share = re.findall('<svg.*?</svg>', page, re.DOTALL)
    assert ('mIoU on val, %' in val, 'reliable share' in share) == (True, True)
    seeds = re.compile('stroke: (#\\w+); stroke-opacity: 0.35; stroke-width: 0.8')
    assert seeds.findall(share) == ['#e07b20'] * 2
    assert sorted(seeds.findall(val)) == ['#3b82c4'] * 2 + ['#e07b20'] * 2
    assert [svg.count('>method, teacher<') for svg in (val, share)] == [1, 0]


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    svg = chart('mIoU', {'_background_': ([{2: 1.0, 4: 2.0}], 'C0', '-')})
    assert '>_background_<' in svg


def test_runs_without_counts_have_no_interval(methods, tmp_path):
    for path in tmp_path.rglob('per_image.npz'):
        path.unlink()
    text = text_of(write_page(methods, tmp_path / 'report.html'))
    assert 'No interval: the tests left no counts of each image' in text
    assert '95 % over' not in text


def test_what_does_not_compare_is_refused(methods, tmp_path):
    scores = {2: (1, 1), 4: (1, 1)}
    other = training(tmp_path / 'x', 0, scores, scores, lists={**LISTS, 'family': 'cps'})
    page = tmp_path / 'report.html'
    with pytest.raises(ValueError, match="trained on 'u2pl 1_16'"):
        write_page({**methods, 'other': [other]}, page)
    again = training(tmp_path / 'y', 1, scores, scores)
    with pytest.raises(ValueError, match=r'b1 and .*y are both of seed 1'):
        write_page({**methods, 'baseline': [*methods['baseline'], again]}, page)
    config = again / '1/vis_data/config.py'
    config.write_text(config.read_text().replace('seed=1', ''))
    with pytest.raises(ValueError, match=r'y was trained without randomness.seed.* --cfg-options'):
        write_page({**methods, 'baseline': [*methods['baseline'], again]}, page)
    lists = {**LISTS, 'name': 'u2pl 1_8', 'list_name': '1_8', 'digest': '22222222'}
    more = training(tmp_path / 'z', 0, scores, scores, lists=lists)
    with pytest.raises(ValueError, match="on 'u2pl 1_16', more on 'u2pl 1_8': a page compares"):
        write_page({**methods, 'more': [more]}, page)
    with pytest.raises(ValueError, match='two methods or more'):
        write_page({'method': methods['method']}, page)
    with pytest.raises(ValueError, match='training has not finished'):
        write_page({**methods, 'test': [methods['method'][0] / 'test']}, page)
    assert not page.exists()


def test_a_file_beside_the_page_stays(methods, tmp_path):
    (tmp_path / 'notes.md').write_text('mine')
    with pytest.raises(ValueError, match=r'notes.md would be overwritten'):
        write_page(methods, tmp_path / 'notes.html')
    assert (tmp_path / 'notes.md').read_text() == 'mine'


def test_the_command_writes_the_page_and_the_table(methods, tmp_path, run_tool, capsys):
    for name, folders in methods.items():
        for folder in folders:
            (folder / f'{name}_street.py').touch()
    words = [*methods['baseline'], *methods['method']]
    run_tool('report.py', *words, '--html', tmp_path / 'report.html')
    table = capsys.readouterr().out
    assert table == (tmp_path / 'report.md').read_text()
    assert ('| baseline | 2 |' in table, '| method | 2 |' in table) == (True, True)
    assert 'Did it help?' in text_of(tmp_path / 'report.html')
    with pytest.raises(SystemExit, match='2'):
        run_tool('report.py', *words, '--html', tmp_path / 'report.md')


# ---------------------------------------------------------------- real runs
@pytest.fixture(scope='module')
def trained(data_root, tmp_path_factory):
    """The page of a supervised and a U²PL run of three iterations."""
    root = tmp_path_factory.mktemp('trained')
    network = dict(
        tiny.networks(),
        type='EncoderDecoder',
        data_preprocessor=runs.settings(data_root, 3)['model']['data_preprocessor'],
    )
    supervised = {
        'model': dict(network, _delete_=True),
        'train_dataloader.sampler.ratio': (1, 0),
        'train_dataloader.dataset.unlabeled': None,
        'default_hooks.checkpoint.save_best': 'mIoU',
    }
    for name, changes in (('baseline', supervised), ('method', {})):
        work = root / name
        runs.runner(data_root, work, 3, **deepcopy(changes)).train()
        last = {**deepcopy(changes), 'load_from': str(work / 'iter_3.pth')}
        runs.runner(data_root, work / 'test', 3, **last).test()
    return write_page({name: [root / name] for name in ('baseline', 'method')}, root / 'page.html')


def test_pictures_of_real_runs(trained):
    page = trained.read_text()
    assert 'No pictures' not in page
    pictures = re.findall('<img src="data:image/jpeg;base64,([^"]+)"', page)
    sizes = {Image.open(io.BytesIO(b64decode(data))).size for data in pictures}
    assert sizes == {(48, 40)}
    assert len(pictures) % 4 == 0
    assert pictures


FRAME = '<iframe style="width: {}px; height: 900px; border: 0" srcdoc="{}"></iframe>'
MEASURE = """<script>addEventListener('load', () => {
    document.title = JSON.stringify(Array.from(frames).map(frame => { const page = frame.document
        const pictures = frame.getComputedStyle(page.querySelector('.pictures'))
        return { width: page.documentElement.scrollWidth,
            columns: pictures.gridTemplateColumns.split(' ').length,
            broken: [...page.images].filter(image => !image.naturalWidth).length } })) })</script>"""


def test_a_browser_renders_it(trained, tmp_path):
    """No console errors, which requests of the network would be; nothing is wider than the window."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f'no {" or ".join(BROWSERS)}: apt-get install chromium')

    def visit(page):
        flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--dump-dom']
        flags += ['--enable-logging=stderr']
        flags += [f'--user-data-dir={tmp_path / "profile"}', '--window-size=1200,900']
        done = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True,
                              timeout=120, check=True)  # fmt: skip
        assert not [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
        return done.stdout

    assert '<h1>Did it help?</h1>' in visit(trained)
    # a window is at least 500 wide, a frame is not; the page itself allows no script
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', '', trained.read_text())
    measured = tmp_path / 'measured.html'
    columns = {1200: 4, 360: 2}
    frames = [FRAME.format(width, html.escape(text)) for width in columns]
    measured.write_text(''.join([*frames, MEASURE]))
    (title,) = re.findall('<title>(.*?)</title>', visit(measured))
    assert json.loads(html.unescape(title)) == [
        dict(width=width, columns=number, broken=0) for width, number in columns.items()
    ]


def test_a_page_of_another_origin_stays(methods, tmp_path):
    (tmp_path / 'mine.html').write_text('my page')
    with pytest.raises(ValueError, match=r'mine\.html is not a page of this tool'):
        write_page(methods, tmp_path / 'mine.html')
    assert (tmp_path / 'mine.html').read_text() == 'my page'
    write_page(methods, tmp_path / 'page.html')
    write_page(methods, tmp_path / 'page.html')  # its own


def test_trainings_of_different_length_are_told(methods, tmp_path, monkeypatch):
    read = RunFolder.results

    def results(folder):
        found = read(folder)
        return dict(found, iterations=found['iterations'] + 2 * (folder.path.name == 'm0'))

    monkeypatch.setattr(RunFolder, 'results', results)
    path = write_page(methods, tmp_path / 'page.html')
    assert 'trainings of different length (4, 6 iterations)' in text_of(path)


def test_names_of_many_lines_stand_below_the_chart():
    names = [f'a class with a long name {i}' for i in range(21)]
    points: Any = {name: ([{1: i, 2: i + 1}], None, '-') for i, name in enumerate(names)}
    title = 'negatives unlabeled, a class each, of the method with a long name'
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # of a layout without room
        drawn = chart(title, points)
    height = re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', drawn)
    assert height
    assert float(height[1]) > 72 * 4  # points
    assert all(f'>{name}<' in drawn for name in names)
