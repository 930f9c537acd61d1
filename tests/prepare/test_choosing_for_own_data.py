"""Lists, choices and configs for folders written by hand."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from own_folder import mask, save
from tiny import assert_raises

from mmseg_u2pl.prepare.index_masks import Masks
from mmseg_u2pl.prepare.make_config import choices as choosing
from mmseg_u2pl.prepare.make_config.choices import NETWORKS, choose, choose_network
from mmseg_u2pl.prepare.make_config.lists import draw_lists
from mmseg_u2pl.prepare.make_config.methods import METHODS, read_method
from mmseg_u2pl.prepare.make_config.reading import Images, OwnMasks, read_images, read_own_masks
from mmseg_u2pl.prepare.make_config.text import folder_texts
from mmseg_u2pl.prepare.split_files import list_files

FAST, SLOW = 0.0, 1e-4  # 1e-4: 160×192 pixels take 3.07 s


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
    assert lists.provenance['options']['val'] == str(path)
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


def test_unlabeled_from_another_folder(tmp_path):
    images, own = folder(tmp_path)
    for i in range(50, 53):
        save(tmp_path / f'more/i{i}.png', np.full((6, 8, 3), i))
    save(tmp_path / 'more/g1_i01.png', np.full((6, 8, 3), 1))  # the name of an image with a mask
    (tmp_path / 'more/linked.png').symlink_to(tmp_path / 'images/g1_i01.png')
    lists = draw(tmp_path, images, own, unlabeled=str(tmp_path / 'more'))
    assert lists.stems['unlabeled'] == ['g1_i01', 'i50', 'i51', 'i52']
    assert lists.unlabeled_folder == tmp_path / 'more'
    grouped = draw(tmp_path, images, own, unlabeled=str(tmp_path / 'more'), groups='^(g?[0-9i])')
    closed = {stem[:2] for stem in grouped.stems['val']}
    assert ('g1_i01' in grouped.stems['unlabeled']) == ('g1' not in closed)
    say = 'no such folder or list'
    assert_raises(ValueError, lambda: draw(tmp_path, images, own, unlabeled='nowhere'), say)


def test_unlabeled_from_a_list(tmp_path):
    images, own = folder(tmp_path)
    path = tmp_path / 'some.txt'
    path.write_text('g3_i19\ng0_i00\n')  # the second has a mask
    assert draw(tmp_path, images, own, unlabeled=str(path)).stems['unlabeled'] == ['g3_i19']


# ---------------------------------------------------------------- choices
def images_of(*sizes):
    paths = {f'i{n}': Path(f'i{n}.png') for n in range(len(sizes))}
    return Images(paths, np.array(sizes, dtype=np.int64), False)


NO_MASKS = Masks([], np.zeros((0, 2), dtype=np.int64), '')
INDEX = OwnMasks(NO_MASKS, 'index', {}, '')


def chosen(sizes=((480, 360),), labeled=10, unlabeled=48, pace=FAST, images=None, **asked):
    """Choices of a folder; ``asked`` are flags of the command line."""
    nothing = dict.fromkeys(('network', 'iters', 'scale', 'crop', 'minutes'))
    flags = Namespace(**{**nothing, 'method': 'fixmatch_balanced', **asked})
    images = images or images_of(*sizes)
    network = choose_network(images, flags.network)
    method = read_method(flags.method, small=network.value.startswith('fpn'))
    sizes = dict(labeled=labeled, unlabeled=unlabeled)
    return choose(images, INDEX, sizes, method, network, flags, pace)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(choosing.torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(choosing.torch.cuda, 'device_count', lambda: 1)  # the logger asks


def values(choices, *names):
    return tuple(choices[name].value for name in names)


@pytest.mark.parametrize(
    ('sizes', 'asked', 'scale', 'crop'),
    [
        ([(480, 360)], {}, (480, 360), (288, 384)),  # at most the images' size
        ([(480, 360)], dict(scale=180), (240, 180), (160, 192)),  # CamVid, as shipped
        ([(360, 480)], dict(scale=180), (240, 180), (192, 160)),
        ([(100, 100)], {}, (100, 100), (96, 96)),
        ([(2000, 200)], dict(scale=180), (1800, 180), (160, 192)),  # no longer than 4:3
        ([(480, 360), (360, 480)], dict(scale=180), (240, 180), (160, 160)),
        ([(30, 20)], {}, (30, 20), (32, 32)),  # padded
        ([(480, 360)], dict(crop=[64, 96]), (480, 360), (64, 96)),
    ],
)
def test_input_and_crop(sizes, asked, scale, crop):
    choices = chosen(sizes, **asked)
    assert values(choices, 'input scale', 'crop') == (scale, crop)
    assert choices['normalization'] == ('of the network', '8-bit images')


def test_on_a_gpu_time_is_no_limit_unless_asked_for(gpu):
    choices = chosen([(2048, 1024)], pace=SLOW)
    assert values(choices, 'input scale', 'crop') == ((1280, 640), (513, 681))
    choices = chosen([(2048, 1024)], pace=SLOW, minutes=60)
    assert choices['input scale'].value == (320, 160)


def test_the_input_is_as_large_as_the_time_allows():
    """1200 iterations of 3 s are 60 minutes: 30 000 pixels; 192 of 256×192 has crops of 160×192."""
    choices = chosen(pace=SLOW)
    assert values(choices, 'input scale', 'crop') == ((214, 160), (128, 160))
    assert '60 minutes' in choices['input scale'].why
    assert choices['time'].value == 'about 41 min'  # 1200 · 128 · 160 · 1e-4 s
    choices = chosen(pace=SLOW, minutes=62)
    assert values(choices, 'input scale', 'crop') == ((256, 192), (160, 192))
    assert chosen(pace=SLOW, iters=12)['input scale'].value == (480, 360)
    choices = chosen(pace=SLOW, minutes=1)
    assert values(choices, 'input scale', 'crop') == ((128, 96), (64, 96))
    assert 'too slow' in choices['input scale'].why


def test_crops_lie_on_the_grid_of_the_network():
    says = '--crop=(96, 100): the width 100 is not k·32,', 'use 96 or 128'
    assert_raises(ValueError, lambda: chosen(crop=[96, 100]), *says)
    deeplab = 'deeplabv3plus_r101-d8_u2plhead'
    says = 'the height 512 is not k·8 + 1,', 'use 505 or 513'
    assert_raises(ValueError, lambda: chosen(network=deeplab, crop=[512, 513]), *says)
    assert chosen(network=deeplab, scale=180)['crop'].value == (145, 193)


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
    choices = chosen(iters=40, method='supervised', network=deeplab, unlabeled=0)
    wanted = ('iterations', 'method', 'network', 'batch')
    assert values(choices, *wanted) == (40, 'supervised', deeplab, '4 + 0')
    assert 'warm-up' not in choices
    assert choices['learning rate'].value == pytest.approx(0.001 * 4 / 16)
    assert_raises(ValueError, lambda: chosen(iters=0), '--iters 0')
    assert_raises(ValueError, lambda: chosen(scale=-1), '--scale -1')


def test_network_of_a_cpu():
    assert values(chosen([(640, 480)]), 'network', 'learning rate') == (
        'fpn_efficientnet-lite0', 0.001,
    )  # fmt: skip


def test_network_of_a_gpu_by_image_size(gpu):
    assert chosen([(640, 480)])['network'].value == 'deeplabv3plus_r101-d8_u2plhead'
    assert chosen([(480, 360)])['network'].value == 'fpn_efficientnet-lite0'


def test_no_unlabeled_image():
    say = 'fixmatch_balanced needs unlabeled images'
    assert_raises(ValueError, lambda: chosen(unlabeled=0), say, '--method supervised')


# ---------------------------------------------------------------- methods
@pytest.mark.parametrize(
    ('name', 'ramp', 'group', 'best'),
    [
        ('fixmatch_balanced', 'warmup_iters', 1, 'teacher/mIoU'),
        ('fixmatch', 'warmup_iters', 1, 'student/mIoU'),
        ('mean_teacher', 'rampup_iters', 1, 'teacher/mIoU'),
        ('u2pl', 'warmup_iters', 1, 'teacher/mIoU'),
        ('unimatch', 'warmup_iters', 1, 'student/mIoU'),
        ('unimatch_v2', 'warmup_iters', 1, 'teacher/mIoU'),
        ('cps', '', 2, 'mean/mIoU'),
        ('rrn', '', 2, 'mean/mIoU'),
        ('supervised', '', 0, 'mIoU'),
    ],
)
def test_methods_are_those_of_the_bases(name, ramp, group, best):
    method = read_method(name)
    assert (method.ramp, method.group, method.best) == (ramp, group, best)
    assert bool(method.model) == (name != 'supervised')
    assert method.balanced == (name == 'fixmatch_balanced')
    assert name in METHODS


def test_a_small_network_takes_the_small_variant_of_a_method():
    assert 'u2pl_small' not in METHODS
    settings = read_method('u2pl', small=True).settings(400, (160, 192))
    assert settings['representation_head'] == dict(channels=64, out_channels=64)
    assert settings['warmup_iters'] == 100
    assert 'representation_head' not in read_method('u2pl').model


# ---------------------------------------------------------------- configs
def write(root, own=INDEX, classes=('road', 'car'), images=None, test=None, **how):
    choices = chosen(images=images, **how)
    small = choices['network'].value.startswith('fpn')
    method = read_method(choices['method'].value, small)
    mine = root / "it's mine"
    folders = dict(images=mine / 'images', masks=mine / 'masks', unlabeled=root / 'other',
                   lists=root / 'lists', test_images=test or mine / 'images',
                   test_masks=test or mine / 'masks')  # fmt: skip
    out = root / 'own'
    texts = folder_texts(
        out,
        method,
        choices,
        classes,
        own,
        folders,
        'tools/make_config.py',
        'test' if test else 'val',
    )
    out.mkdir()
    for path, text in texts.items():
        path.write_text(text, encoding='utf-8')
    return {path.name: Config.fromfile(path) for path in texts if 'base' not in path.name}


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('method', METHODS)
def test_configs_of_every_method_and_network(tmp_path, method, network):
    configs = write(tmp_path, method=method, network=network, scale=180)
    main = configs['own.py']
    assert main.model.decode_head.num_classes == 2
    assert main.model.get('auxiliary_head', {}).get('num_classes', 2) == 2
    assert main.train_cfg.max_iters == 1200
    assert main.auto_scale_lr == dict(base_batch_size=main.train_dataloader.batch_size)
    crop = (160, 192) if network.startswith('fpn') else (145, 193)
    assert main.model.data_preprocessor['size'] == crop
    assert main.custom_imports.imports == ['mmseg_u2pl']
    assert main.default_hooks.semi_training.type == 'SemiTrainingHook'
    assert {main.val_cfg.type, main.test_cfg.type} == {'PredictorsValLoop', 'PredictorsTestLoop'}
    if method == 'supervised':
        assert list(configs) == ['own.py']
        return
    baseline = configs['own_supervised.py']
    assert MODELS.get(main.model.type).predictors[0]
    assert baseline.model.type == 'EncoderDecoder'
    labeled = main.train_dataloader.dataset.labeled
    assert baseline.train_dataloader.dataset.labeled == labeled
    assert baseline.train_dataloader.dataset.unlabeled is None
    batch, (first, group) = main.train_dataloader.batch_size, main.train_dataloader.sampler.ratio
    assert batch == baseline.train_dataloader.batch_size * (first + group)
    assert baseline.optim_wrapper.optimizer == main.optim_wrapper.optimizer
    steps = [step['type'] for step in labeled.pipeline]
    assert ('PhotoMetricDistortion' in steps) == ('balanced' in method)
    for config in configs.values():
        weights = [hook['type'] for hook in config.get('custom_hooks', [])]
        assert weights == ['ClassWeightsHook'] * ('balanced' in method)
    assert main.optim_wrapper.constructor == 'SemiOptimWrapperConstructor'
    assert ('discriminator_optimizer' in main.optim_wrapper) == (method in ('rrn', 'rrn_filter'))


@pytest.mark.parametrize(('count', 'colors'), [(2, 2), (11, 11), (20, 20), (21, 0)])
def test_every_class_has_a_color_of_its_own(tmp_path, count, colors):
    own = OwnMasks(NO_MASKS, 'index', {}, '')
    main = write(tmp_path, own, [f'class {index}' for index in range(count)])['own.py']
    palette = main.train_dataloader.dataset.labeled.metainfo.palette
    assert len(set(map(tuple, palette))) == len(palette) == colors


def test_paths_and_names_survive(tmp_path):
    own = OwnMasks(NO_MASKS, 'colors', dict(colors=[[1, 2, 3], [4, 5, 6]]), '')
    names = ("cat's eye", 'naïve (( fileDirname }}x $images')
    main = write(tmp_path, own, names)['own.py']
    labeled = main.train_dataloader.dataset.labeled
    mine = str(tmp_path / "it's mine")
    assert labeled.data_prefix == dict(img_path=f'{mine}/images', seg_map_path=f'{mine}/masks')
    assert labeled.ann_file == str(tmp_path / 'lists/labeled.txt')
    assert labeled.metainfo.classes == names
    assert labeled.metainfo.palette == [[1, 2, 3], [4, 5, 6]]
    assert labeled.pipeline[1] == dict(type='LoadMask', colors=[[1, 2, 3], [4, 5, 6]])
    unlabeled = main.train_dataloader.dataset.unlabeled
    assert unlabeled.data_prefix.img_path == str(tmp_path / 'other')
    assert main.test_dataloader.dataset == main.val_dataloader.dataset
    scales = [step['scale'] for step in main.tta_pipeline[1].transforms[0]]
    assert scales == [(360, 270), (480, 360), (600, 450)]
    assert main.tta_model.type == 'SegTTAModel'


def test_a_test_set_of_its_own(tmp_path):
    main = write(tmp_path, test=tmp_path / 'test')['own.py']
    dataset = main.test_dataloader.dataset
    assert dataset.data_prefix == dict.fromkeys(
        ('img_path', 'seg_map_path'), str(tmp_path / 'test')
    )
    assert dataset.ann_file == str(tmp_path / 'lists/test.txt')
    assert dataset.pipeline == main.val_dataloader.dataset.pipeline


def test_lists_of_a_test_set(tmp_path):
    images, own = folder(tmp_path)
    masks = own.masks._replace(stems=['i1', 'i50'])
    lists = draw(tmp_path, images, own, test=masks)
    assert lists.stems['test'] == ['i1', 'i50']
    assert lists.provenance['lists']['test']['images'] == 2


def test_measured_normalization_goes_into_the_config(tmp_path):
    save(tmp_path / 'deep/a.png', np.resize([2560, 7680], (4, 4)), mode=np.uint16)
    main = write(tmp_path, images=read_images(tmp_path / 'deep'))['own.py']
    assert main.model.data_preprocessor.mean == [20] * 3
    assert main.model.data_preprocessor.std == [10] * 3


def test_lists_as_files(tmp_path):
    images, own = folder(tmp_path)
    lists = draw(tmp_path, images, own, seed=3)
    files = list_files(tmp_path / 'splits', lists.stems, lists.provenance)
    names = ('labeled.txt', 'unlabeled.txt', 'val.txt', 'provenance.json')
    assert [path.name for path in files] == list(names)
    assert files[tmp_path / 'splits/val.txt'].count(b'\n') == 2
    assert json.loads(files[tmp_path / 'splits/provenance.json'])['options']['seed'] == 3


@pytest.mark.parametrize(
    ('name', 'expected'), [('street', 'street'), ('my crack.v2', 'my_crack_v2'), ('...', 'config')]
)
def test_name_of_the_configs(tmp_path, name, expected):
    (tmp_path / 'x').mkdir()
    folders = dict.fromkeys(('images', 'masks', 'unlabeled', 'lists', 'test_images', 'test_masks'),
                            tmp_path)  # fmt: skip
    out = tmp_path / f'x/{name}'
    texts = folder_texts(out, read_method('u2pl'), chosen(), ('a', 'b'), INDEX, folders, '')
    assert [path.name for path in texts] == [
        f'{expected}.py', f'{expected}_supervised.py', f'{expected}_base.py',
    ]  # fmt: skip


def test_a_class_that_no_mask_has_is_told(tmp_path):
    images, own = folder(tmp_path)
    counts = np.hstack((own.masks.counts, np.zeros((len(own.masks.counts), 1), int)))
    masks = own.masks._replace(counts=counts)
    lists = draw_lists(tmp_path / 'images', images, masks, ('road', 'car', 'traffic sign'))
    (note,) = lists.notes
    assert note.startswith('no mask has traffic sign: ')
    assert not draw(tmp_path, images, own).notes


def test_images_to_train_on_are_no_test(tmp_path):
    images, own = folder(tmp_path)
    paths = list(images.paths.values())
    assert_raises(
        ValueError, lambda: draw(tmp_path, images, own, test=own.masks, test_paths=paths),
        '--test: 12 images are also those to train on', 'g0_i00.png',
    )  # fmt: skip
