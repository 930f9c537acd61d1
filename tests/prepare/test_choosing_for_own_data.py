"""Lists, choices and configs for folders written by hand."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from own_folder import mask, save
from tiny import assert_raises

from mmseg_u2pl.own_data import (
    METHODS,
    NETWORKS,
    Images,
    OwnMasks,
    choose,
    config_name,
    config_texts,
    draw_lists,
    read_images,
    read_own_masks,
    write_configs,
)
from mmseg_u2pl.own_data.choices import default_palette
from mmseg_u2pl.own_data.recipes import BASES
from mmseg_u2pl.prepare.index_masks import Masks


# ---------------------------------------------------------------- lists
def folder(root, number=20, masked=12):
    """Images i00 ...; the first ones have masks of which every third holds class 1."""
    for i in range(number):
        save(root / f'images/g{i % 4}_i{i:02}.png', np.full((6, 8, 3), i))
        if i < masked:
            save(root / f'masks/g{i % 4}_i{i:02}.png', mask(0, int(i % 3 == 0)))
    return read_images(root / 'images'), read_own_masks(
        read_images(root / 'images').paths, root / 'masks', ('road', 'car')
    )


def draw(root, images, own, **how):
    return draw_lists(root / 'images', images, own.masks, ('road', 'car'), **how)


@pytest.mark.parametrize(('masked', 'val'), [(3, 2), (8, 2), (12, 2), (13, 3), (20, 4)])
def test_a_fifth_of_the_masks_is_held_out(tmp_path, masked, val):
    images, own = folder(tmp_path, masked=masked)
    lists = draw(tmp_path, images, own)
    stems = {name: set(part) for name, part in lists.stems.items()}
    assert len(stems['val']) == val
    assert stems['labeled'] | stems['val'] == set(own.masks.stems)
    assert stems['unlabeled'] == set(images.paths) - set(own.masks.stems)
    assert not stems['labeled'] & stems['val']
    assert lists.provenance['lists']['labeled']['images'] == masked - val


def test_too_few_masks(tmp_path):
    images, own = folder(tmp_path, masked=2)
    assert_raises(ValueError, lambda: draw(tmp_path, images, own), '2 masks are too few')


def test_sizes_and_lists_to_validate_on(tmp_path):
    images, own = folder(tmp_path)
    assert len(draw(tmp_path, images, own, val='5').stems['val']) == 5
    assert len(draw(tmp_path, images, own, val='1/2').stems['val']) == 6
    path = tmp_path / 'val.txt'
    path.write_text('g0_i00\ng1_i01\n')
    lists = draw(tmp_path, images, own, val=str(path))
    assert lists.stems['val'] == ['g0_i00', 'g1_i01']
    assert len(lists.stems['labeled']) == 10
    assert lists.provenance['options']['val']['file'] == 'val.txt'
    path.write_text('g3_i19\n')
    say = "names 'g3_i19', which has no mask"
    assert_raises(ValueError, lambda: draw(tmp_path, images, own, val=str(path)), say)


def test_groups_stay_on_one_side(tmp_path):
    images, own = folder(tmp_path)
    lists = draw(tmp_path, images, own, val='3', groups='^(g[0-9])')
    sides = [{stem[:2] for stem in lists.stems[k]} for k in ('val', 'labeled', 'unlabeled')]
    assert len(sides[0]) == 1
    assert not sides[0] & (sides[1] | sides[2])
    path = tmp_path / 'val.txt'
    path.write_text('g2_i02\n')
    lists = draw(tmp_path, images, own, val=str(path), groups='^(g[0-9])')
    assert not any(s.startswith('g2') for s in lists.stems['labeled'] + lists.stems['unlabeled'])


def test_unlabeled_from_another_folder_without_copies(tmp_path):
    images, own = folder(tmp_path)
    for i in range(50, 53):
        save(tmp_path / f'more/i{i}.png', np.full((6, 8, 3), i))
    save(tmp_path / 'more/renamed.png', np.full((6, 8, 3), 1))  # image g1_i01, which has a mask
    lists = draw(tmp_path, images, own, unlabeled=str(tmp_path / 'more'))
    assert lists.stems['unlabeled'] == ['i50', 'i51', 'i52']
    assert lists.unlabeled_folder == tmp_path / 'more'
    assert lists.notes == [
        f"1 images of '{tmp_path / 'more'}' are left out: copies of images with a mask"
    ]
    say = 'no such folder or list'
    assert_raises(ValueError, lambda: draw(tmp_path, images, own, unlabeled='nowhere'), say)


def test_unlabeled_from_a_list(tmp_path):
    images, own = folder(tmp_path)
    path = tmp_path / 'some.txt'
    path.write_text('g3_i19\ng0_i00\n')  # the second has a mask
    assert draw(tmp_path, images, own, unlabeled=str(path)).stems['unlabeled'] == ['g3_i19']


# ---------------------------------------------------------------- choices
def images_of(*sizes, mode='RGB'):
    paths = {f'i{n}': Path(f'i{n}.png') for n in range(len(sizes))}
    return Images(paths, np.array(sizes, dtype=np.int64), Counter({mode: len(sizes)}))


NO_MASKS = Masks([], np.zeros((0, 2), dtype=np.int64), '')
INDEX = OwnMasks(NO_MASKS, 'index', {}, None)


def chosen(sizes=((480, 360),), labeled=10, unlabeled=48, **how):
    return choose(images_of(*sizes), INDEX, labeled, unlabeled, **how)


def values(choices, *names):
    return tuple(choices[name].value for name in names)


@pytest.mark.parametrize(
    ('sizes', 'gpu', 'scale', 'crop'),
    [
        ([(480, 360)], False, (240, 180), (144, 192)),  # CamVid, as shipped
        ([(360, 480)], False, (240, 180), (192, 144)),
        ([(100, 100)], False, (100, 100), (80, 80)),
        ([(2000, 200)], False, (1800, 180), (144, 192)),  # no longer than 4:3
        ([(480, 360), (360, 480)], False, (240, 180), (176, 176)),
        ([(30, 20)], False, (30, 20), (32, 32)),  # padded
        ([(480, 360)], True, (480, 360), (288, 384)),
        ([(2048, 1024)], True, (1280, 640), (512, 688)),
    ],
)
def test_input_and_crop(sizes, gpu, scale, crop):
    assert values(chosen(sizes, gpu=gpu), 'input scale', 'crop') == (scale, crop)


@pytest.mark.parametrize(
    ('labeled', 'unlabeled', 'iterations', 'why'),
    [
        (10, 48, 1200, 'as measured'),
        (
            34,
            514,
            1200,
            'as measured',
        ),  # LabelMeFacade 1/16, as measured: 7 * 514 / 4 / 0.75 = 1199.3
        (600, 1, 1400, 'labeled image 9 times'),  # 1350
        (10, 1000, 2400, 'unlabeled image 7 times'),  # 2333.3
    ],
)
def test_iterations_and_warmup(labeled, unlabeled, iterations, why):
    choices = chosen(labeled=labeled, unlabeled=unlabeled)
    assert values(choices, 'iterations', 'warm-up') == (iterations, iterations // 4)
    assert why in choices['iterations'].why


def test_the_user_has_the_last_word():
    deeplab = 'deeplabv3plus_r101-d8_u2plhead'
    choices = chosen(iterations=40, method='supervised', network=deeplab, unlabeled=0)
    wanted = ('iterations', 'method', 'network', 'schedule', 'batch')
    assert values(choices, *wanted) == (40, 'supervised', deeplab, 'sgd_poly_voc', '4 + 0')
    assert 'warm-up' not in choices
    assert choices['learning rate'].value == pytest.approx(0.001 * 4 / 16)
    assert_raises(ValueError, lambda: chosen(iterations=0), '--iters 0')


def test_network_by_machine_and_image_size():
    assert values(chosen(), 'network', 'learning rate') == ('fpn_efficientnet-lite0', 0.001)
    assert chosen([(640, 480)], gpu=True)['network'].value == 'deeplabv3plus_r101-d8_u2plhead'
    assert chosen([(480, 360)], gpu=True)['network'].value == 'fpn_efficientnet-lite0'


def test_no_unlabeled_image():
    assert_raises(ValueError, lambda: chosen(unlabeled=0), 'u2pl_balanced needs unlabeled images')


def test_normalization():
    own = chosen()['normalization']
    assert own.text == 'the network’s own'
    assert '1 RGB' in own.why


def test_networks_are_files():
    for network, (schedule, _) in NETWORKS.items():
        assert 'decode_head' in Config.fromfile(BASES / f'models/{network}.py').model
        assert (BASES / f'schedules/{schedule}.py').is_file()


def test_palette_colors_differ():
    colors = default_palette(40)
    assert colors[0] == [0, 0, 0]
    assert len({tuple(color) for color in colors}) == 40
    assert np.array(colors).min() >= 0
    assert np.array(colors).max() <= 255


# ---------------------------------------------------------------- configs
def write(root, own=INDEX, classes=('road', 'car'), images=None, **how):
    images = images or images_of((480, 360))
    choices = choose(images, own, 10, 48, **how)
    folders = (root / "it's mine/images", root / "it's mine/masks", root / 'other', root / 'lists')
    texts = config_texts('own', choices, classes, own, folders, 'tools/make_config.py')
    for name, text in texts.items():
        (root / name).write_text(text, encoding='utf-8')
    return {name: Config.fromfile(root / name) for name in texts if 'base' not in name}


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('method', METHODS)
def test_configs_of_every_method_and_network(tmp_path, method, network):
    configs = write(tmp_path, method=method, network=network)
    main = configs['own.py']
    assert main.model.decode_head.num_classes == 2
    assert main.model.get('auxiliary_head', {}).get('num_classes', 2) == 2
    assert main.train_cfg.max_iters == main.param_scheduler[0].end == 1200
    assert main.auto_scale_lr == dict(base_batch_size=main.train_dataloader.batch_size)
    assert main.model.data_preprocessor['size'] == (144, 192)
    if method.startswith('supervised'):
        assert list(configs) == ['own.py']
        return
    twin = configs['own_supervised.py']
    assert MODELS.get(main.model.type).predictors[0] in main.default_hooks.checkpoint.save_best
    assert twin.model.type == 'EncoderDecoder'
    labeled = main.train_dataloader.dataset.labeled
    assert twin.train_dataloader.dataset == labeled
    batch, (own, unlabeled) = main.train_dataloader.batch_size, main.train_dataloader.sampler.ratio
    assert batch == twin.train_dataloader.batch_size * (own + unlabeled)
    assert twin.optim_wrapper.optimizer == main.optim_wrapper.optimizer
    steps = [step['type'] for step in labeled.pipeline]
    assert ('PhotoMetricDistortion' in steps) == ('balanced' in method)


def test_paths_and_names_survive(tmp_path):
    own = OwnMasks(NO_MASKS, 'RGB', dict(colors=[[1, 2, 3], [4, 5, 6]]), [[1, 2, 3], [4, 5, 6]])
    main = write(tmp_path, own, ("cat's eye", 'naïve {{ fileDirname }}x'.replace('{', '(')))[
        'own.py'
    ]
    labeled = main.train_dataloader.dataset.labeled
    assert labeled.data_root == str(tmp_path / "it's mine")
    assert labeled.data_prefix == dict(img_path='images', seg_map_path='masks')
    assert labeled.ann_file == str(tmp_path / 'lists/labeled.txt')
    assert labeled.metainfo.classes[0] == "cat's eye"
    assert labeled.metainfo.palette == [[1, 2, 3], [4, 5, 6]]
    assert "colors=metainfo['palette']" in (tmp_path / 'own_base.py').read_text(encoding='utf-8')
    assert labeled.pipeline[1] == dict(type='LoadMask', colors=[[1, 2, 3], [4, 5, 6]])
    unlabeled = main.train_dataloader.dataset.unlabeled
    assert unlabeled.data_prefix.img_path == str(tmp_path / 'other')


def test_measured_normalization_goes_into_the_config(tmp_path):
    save(tmp_path / 'deep/a.png', np.resize([2560, 7680], (4, 4)), mode=np.uint16)
    main = write(tmp_path, images=read_images(tmp_path / 'deep'))['own.py']
    assert main.model.data_preprocessor.mean == [20] * 3
    assert main.model.data_preprocessor.std == [10] * 3


def test_nothing_is_overwritten_without_force(tmp_path):
    images, own = folder(tmp_path)
    lists = draw(tmp_path, images, own)
    out = tmp_path / 'out'
    assert write_configs(out, {'a.py': 'x = 1\n'}, lists, force=False)
    assert not write_configs(out, {'a.py': 'x = 1\n'}, lists, force=False)
    other = draw(tmp_path, images, own, seed=3)
    with pytest.raises(FileExistsError, match=r'a\.py.*differs.*--force'):
        write_configs(out, {'a.py': 'x = 2\n'}, other, force=False)
    with pytest.raises(FileExistsError, match='differs'):
        write_configs(out, {'a.py': 'x = 1\n', 'b.py': ''}, other, force=False)
    assert not (out / 'b.py').exists()
    assert json.loads((out / 'splits/provenance.json').read_text())['options']['seed'] == 0
    assert write_configs(out, {'a.py': 'x = 2\n'}, other, force=True)
    assert (out / 'a.py').read_text() == 'x = 2\n'


@pytest.mark.parametrize(
    ('name', 'expected'), [('street', 'street'), ('my crack.v2', 'my_crack_v2'), ('...', 'config')]
)
def test_config_name(tmp_path, name, expected):
    assert config_name(tmp_path / f'x/{name}') == expected
