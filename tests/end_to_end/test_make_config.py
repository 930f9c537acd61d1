"""From a folder under names of its own to a trained network, by the two commands."""

import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer
from PIL import Image
from runs import OFFLINE, words
from test_command_lines import call

from mmseg_u2pl.engine.loops import PredictorsValLoop
from mmseg_u2pl.prepare.make_config import pace
from mmseg_u2pl.prepare.make_config.methods import METHODS

pytest.importorskip('efficientnet_lite_pytorch')
COLORS = np.array([(128, 64, 128), (0, 0, 142)], dtype=np.uint8)
KINDS = dict(
    index=[],
    palette=[],
    binary=[],
    rgb=['--colors', 'car=#00008e', 'road=#804080', 'ignore=#ffffff'],
)


def write_mask(path, labels, kind):
    """A mask of classes 0 and 1, and 255 at its top where its kind knows ignored pixels."""
    if kind == 'binary':
        image = Image.fromarray(np.where(labels == 1, 255, 0).astype(np.uint8))
    elif kind == 'rgb':
        image = Image.fromarray(np.where(labels[..., None] == 255, 255, COLORS[labels % 2]))
    else:
        image = Image.fromarray(labels)
    if kind == 'palette':
        image.putpalette(COLORS.tobytes().ljust(768, b'\xff'))  # with a color for 255
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_folder(root):
    """60 images of two suffixes in two folders, with spaces and accents; 12 masks of each kind."""
    rng = np.random.default_rng(0)
    for i in range(60):
        stem = f'día 1/street {i:02}' if i % 3 == 0 else f'drive_{i:02}'
        pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        path = root / 'images' / f'{stem}{".jpg" if i % 2 else ".PNG"}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        if i % 5 == 0:
            labels = (pixels[..., 0] > 200).astype(np.uint8)
            labels[:5] = 255
            for kind in KINDS:
                write_mask(root / f'masks {kind}/{stem}.png', labels, kind)
    return root


@pytest.fixture(scope='module')
def mine(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('own') / 'Annas Straßen')


@pytest.fixture
def tool(run_tool, capsys, monkeypatch):
    """Run the tool in this process, on a machine of infinite speed; returns what it printed."""
    monkeypatch.setattr(pace, 'measure_pace', lambda *_: 0.0)

    def run(*arguments):
        run_tool('make_config.py', *arguments)
        return capsys.readouterr().out

    return run


def flags(mine, kind, out):
    masks = mine / f'masks {kind}'
    return [mine / 'images', masks, '--classes', 'road', 'car', *KINDS[kind], '--out', out]


def runner_of(path, work_dir):
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(OFFLINE)
    cfg.work_dir = cfg.experiment_name = cfg.visualizer.name = str(work_dir)
    return Runner.from_cfg(cfg)


def test_masks_of_0_and_255_train(mine, tmp_path, tool):
    assert '255 → car' in tool(*flags(mine, 'binary', tmp_path / 'out'), '--iters', 4)
    runner = runner_of(tmp_path / 'out/out.py', tmp_path / 'work')
    runner.train()
    model = runner.model
    assert runner.train_dataloader.dataset.lengths == (10, 48)
    assert len(runner.val_dataloader.dataset) == 2
    assert isinstance(runner.val_loop, PredictorsValLoop)
    assert model.warmup_iters == 1
    assert model.teacher.updates == 4
    unlabeled_steps = runner.message_hub.get_scalar('train/unsup.loss_ce').data[0]
    assert len(unlabeled_steps) == 3
    assert runner.message_hub.get_scalar('val/teacher/mIoU').current() >= 0
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('road', 'car')


def unlabeled_losses(runner):
    """First parts of the names under which losses on unlabeled images were logged."""
    logged = {name.split('.')[0] for name in runner.message_hub.log_scalars}
    return logged & {'train/unsup', 'train/cps', 'train/rrn'}


@pytest.mark.parametrize(
    'method', sorted({*METHODS} - {'fixmatch_balanced', 'fixmatch', 'rrn', 'supervised'})
)
def test_every_method_trains(mine, tmp_path, tool, method):
    tool(*flags(mine, 'index', tmp_path / 'out'), '--iters', 2, '--method', method)
    runner = runner_of(tmp_path / 'out/out.py', tmp_path / 'work')
    runner.train()
    best = runner.cfg.default_hooks.checkpoint.save_best
    assert runner.message_hub.get_scalar(f'val/{best}').current() >= 0
    assert unlabeled_losses(runner)


def test_colors_through_the_printed_command_and_the_baseline(mine, tmp_path, tool, run_tool):
    output = tool(*flags(mine, 'rgb', tmp_path / 'two words'), '--iters', 2)
    line = next(line for line in output.splitlines() if line.startswith('python tools/train.py'))
    _, path = shlex.split(line.removeprefix('python '))
    work_dir = tmp_path / 'work'
    run_tool('train.py', path, '--work-dir', work_dir, '--cfg-options', *words(OFFLINE))
    assert (work_dir / 'iter_2.pth').is_file()
    baseline = runner_of(tmp_path / 'two words/two_words_supervised.py', tmp_path / 'baseline')
    baseline.train()
    assert baseline.train_dataloader.dataset.lengths == (10, 0)
    assert baseline.model.decode_head.loss_decode.class_weight is not None
    assert baseline.message_hub.get_scalar('val/mIoU').current() >= 0
    assert not unlabeled_losses(baseline)


def test_test_masks_are_of_the_kind_of_the_others(mine, tmp_path, tool):
    """Two classes as 0 and 255, of which the test set shows the first alone."""
    test = tmp_path / 'test'
    for part in ('images', 'masks'):
        (test / part).mkdir(parents=True)
    shutil.copy(mine / 'images/drive_01.jpg', test / 'images')
    shape = np.asarray(cv2.imread(str(test / 'images/drive_01.jpg'))).shape[:2]
    cv2.imwrite(str(test / 'masks/drive_01.png'), np.zeros(shape, np.uint8))
    out = tmp_path / 'out'
    tool(*flags(mine, 'binary', out), '--iters', 4, '--test', test / 'images', test / 'masks')
    cfg = Config.fromfile(out / 'out.py')
    assert cfg.test_dataloader.dataset.data_prefix.seg_map_path == str(test / 'masks')


def test_test_images_are_not_unlabeled_ones(mine, tmp_path, tool):
    """Their masks are in another folder, the images are among the others."""
    (tmp_path / 'masks').mkdir()
    write_mask(tmp_path / 'masks/drive_01.png', np.eye(40, 60, dtype=np.uint8), 'index')
    out = tmp_path / 'out'
    tool(*flags(mine, 'index', out), '--test', mine / 'images', tmp_path / 'masks')
    assert (out / 'splits/test.txt').read_text().split() == ['drive_01']
    unlabeled = (out / 'splits/unlabeled.txt').read_text().splitlines()
    assert len(unlabeled) == 47
    assert 'drive_01' not in unlabeled


def test_the_checkpoint_of_palette_masks_predicts(mine, tmp_path, tool):
    (tmp_path / 'more').mkdir()
    shutil.copy(mine / 'images/drive_01.jpg', tmp_path / 'more')
    (tmp_path / 'more/linked.PNG').symlink_to(mine / 'images/día 1/street 00.PNG')  # has a mask
    flags_of_both = (*flags(mine, 'palette', tmp_path / 'own'), '--unlabeled', tmp_path / 'more')
    assert '255 → car' not in tool(*flags_of_both, '--iters', 2)
    runner = runner_of(tmp_path / 'own/own.py', tmp_path / 'work')
    runner.train()
    assert runner.train_dataloader.dataset.lengths == (10, 1)
    model = MMSegInferencer(model=None, weights=str(tmp_path / 'work/iter_2.pth'), device='cpu')
    image = next((mine / 'images').glob('*.jpg'))
    labels = model(str(image), return_datasamples=True).pred_sem_seg
    assert tuple(labels.shape) == (40, 60)


def test_again_and_otherwise(mine, tmp_path, tool):
    out = tmp_path / 'own'
    assert 'own_supervised.py written' in tool(*flags(mine, 'index', out))
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    assert len(before) == 3 + 4
    assert 'own_supervised.py unchanged' in tool(*flags(mine, 'index', out), '--force')
    with pytest.raises(SystemExit) as caught:
        tool(*flags(mine, 'index', out), '--val', 4)
    assert caught.value.code == 2
    assert before == {path: path.read_bytes() for path in before}
    output = tool(*flags(mine, 'index', out), '--val', 4, '--force', '--method', 'supervised')
    assert (out / 'splits/val.txt').read_text().count('\n') == 4
    assert 'supervised.py' not in output


def test_a_test_set_and_plain_mmengine(mine, tmp_path, tool):
    """The written config loads, and its model is built, where only mmseg was imported."""
    test = [shutil.copytree(mine / 'images', tmp_path / 'test'), mine / 'masks palette']
    tool(*flags(mine, 'index', tmp_path / 'own'), '--test', *test, '--scale', 40)
    code = (
        'from mmseg.apis import init_model; import sys; cfg = init_model(sys.argv[1], '
        "device='cpu').cfg; print(cfg.model.type, cfg.test_dataloader.dataset.ann_file)"
    )
    output = call('-c', code, tmp_path / 'own/own.py')
    assert f'FixMatch {tmp_path}/own/splits/test.txt' in output
    assert (tmp_path / 'own/splits/test.txt').read_text().count('\n') == 12


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (['--classes', 'road'], '--classes road: give two or more different names'),
        (['--classes', 'a', 'b', '--values', '0'], '--values 0: give 2 different values'),
        (['--colors', 'road=#000000', 'car=#000001'], 'has the color [255, 255, 255]'),
        (['--val', '12'], '--val 12 leaves none of the 12 masks'),
        (['--unlabeled', 'nowhere'], "--unlabeled 'nowhere': no such folder or list"),
        (['--groups', '^(drive)'], 'gets no group'),
        (['--iters', '-1'], '--iters -1'),
        (['--values', '0', '1', '--colors', 'road=#000000', 'car=#000001'], 'give one of them'),
        (['--classes', *map(str, range(256))], '--classes: 256 names'),
        (['--crop', '30', '32'], '--crop=(30, 32): the height 30'),
        (['--test', 'nowhere', 'nowhere'], "no folder 'nowhere'"),
    ],
)
def test_a_mistake_ends_in_one_line_and_writes_nothing(
    mine, tmp_path, tool, refuses, changes, says
):
    out = tmp_path / 'out'
    with refuses(f'^error: .*{re.escape(says)}'):
        tool(*flags(mine, 'index', out), *changes)
    assert not out.exists()


def test_masks_inside_the_images_folder(mine, tmp_path, tool, refuses):
    shutil.copytree(mine / 'images', tmp_path / 'images')
    shutil.copytree(mine / 'masks index', tmp_path / 'images/masks')
    with refuses('side by side'):
        tool(tmp_path / 'images', tmp_path / 'images/masks', '--classes', 'a', 'b', '--out', 'x')
