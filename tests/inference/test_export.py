"""One network of a method, exported: the same masks without this package, or without mmseg."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cross
import cv2
import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_u2pl.inference.export import FORMATS, export, predict, read_source
from mmseg_u2pl.inference.model_card import model_card
from mmseg_u2pl.inference.plain_config import plain_config
from mmseg_u2pl.models.data_preprocessor import Grid

WORK_DIR = '/home/trainer/secret'
PREPROCESSOR = dict(
    type='SemiDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0] * 3, bgr_to_rgb=True,
    pad_val=0, grid=dict(stride=16),
)  # fmt: skip
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMask', values={0: 0}),
    dict(type='PackSegInputs'),
]
WITHOUT_PACKAGE = """
import sys
sys.modules['mmseg_u2pl'] = None  # importing it fails
import numpy as np
from mmseg.apis import inference_model, init_model
for name in sys.argv[1:]:
    model = init_model(f'{name}/config.py', f'{name}/model.pth', device='cpu')
    np.save(f'{name}.npy', inference_model(model, 'image.png').pred_sem_seg.data[0].numpy())
"""


def config_of(model):
    dataset = dict(type='FolderDataset', data_root=WORK_DIR, pipeline=PIPELINE)
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset), work_dir=WORK_DIR))


def source_of(predictor, grid=PREPROCESSOR['grid'], **settings):
    """A U²PL with a bank, whose teacher and student differ."""
    preprocessor = dict(PREPROCESSOR, grid=grid)
    model = tiny.ready('U2PL', data_preprocessor=preprocessor, **settings)
    model.predictor = predictor
    cfg = config_of(tiny.u2pl_config(data_preprocessor=preprocessor, **settings))
    return read_source(model, cfg, dict(tiny.META), dict(iter=7, cfg=WORK_DIR))


def pixels(*size):
    return torch.randint(256, (3, *size), dtype=torch.uint8)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The teacher in every format, with what was compared."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('exported')
    source = source_of('teacher')
    return source, folder, export(source, folder, FORMATS, [pixels(45, 70), pixels(32, 48)])


def test_every_format_gives_the_logits_of_the_network_at_two_sizes(exported):
    _, _, compared = exported
    assert [(each.format, each.size) for each in compared] == [
        (name, size) for name in FORMATS for size in ((45, 70), (32, 48))
    ]
    for each in compared:
        assert each.difference <= 1e-4, each
        assert each.equal >= 0.999
        assert not each.fixed


def test_plain_mmseg_predicts_the_same_masks(tmp_path):
    image = pixels(45, 70)
    cv2.imwrite(str(tmp_path / 'image.png'), image.flip(0).permute(1, 2, 0).numpy())
    expected = {}
    for predictor in ('teacher', 'student'):
        source = source_of(predictor)
        export(source, tmp_path / predictor, ['mmseg'], [pixels(32, 32)])
        expected[predictor] = predict(source.model, image).argmax(0).numpy()
    command = [sys.executable, '-c', WITHOUT_PACKAGE, *expected]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    for predictor, mask in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f'{predictor}.npy'), mask)
    assert (expected['teacher'] != expected['student']).any()


def test_nothing_of_the_training_is_inside(exported):
    _, folder, _ = exported
    here = str(Path(__file__).parents[2]).encode()
    for path in folder.iterdir():
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                contents += [file.read(name) for name in file.namelist()]
        for content in contents:
            for word in (WORK_DIR.encode(), here, sys.prefix.encode()):
                assert word not in content, path.name
            for word in (b'bank', b'teacher', b'representation_head'):
                assert word not in content, (path.name, word)
    state = torch.load(folder / 'model.pth', weights_only=True)
    assert set(state) == {'state_dict', 'meta'}
    assert {name.split('.')[0] for name in state['state_dict']} == {'backbone', 'decode_head'}


def test_onnxruntime_takes_a_batch_of_plain_pixels(exported):
    onnxruntime = pytest.importorskip('onnxruntime')
    source, folder, _ = exported
    session = onnxruntime.InferenceSession(folder / 'model.onnx')
    assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    images = torch.stack([pixels(33, 50) for _ in range(3)])
    (logits,) = session.run(None, {'pixels': images.numpy()})
    expected = torch.stack([predict(source.model, image) for image in images])
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-3)


def test_safetensors_says_what_it_is(exported):
    safetensors = pytest.importorskip('safetensors')
    _, folder, _ = exported
    with safetensors.safe_open(folder / 'model.safetensors', 'pt') as file:
        assert json.loads(file.metadata()['dataset_meta'])['classes'] == ['red', 'green', 'blue']


def test_networks_with_corners_aligned_keep_their_own_grid(tmp_path):
    head = dict(tiny.networks()['decode_head'], align_corners=True)
    source = source_of('student', grid=dict(stride=8, offset=1), decode_head=head)
    compared = export(source, tmp_path, ['mmseg', 'onnx'], [pixels(30, 44), pixels(57, 33)])
    sizes = {(each.format, each.size) for each in compared}
    assert {('mmseg', (33, 49)), ('mmseg', (57, 33)), ('onnx', (30, 44))} < sizes
    assert max(each.difference for each in compared) <= 1e-4
    card = model_card(source, ['mmseg'], '', {})
    assert 'images whose sides are k·8 + 1, such as 505' in card


def test_one_of_two_networks_and_not_their_mean(tmp_path):
    model = cross.build().eval()
    cfg = config_of(cross.config())
    with pytest.raises(ValueError, match='--predictor network1 or --predictor network2'):
        read_source(model, cfg, dict(tiny.META), {})
    model.predictor = 'network2'
    source = read_source(model, cfg, dict(tiny.META), {})
    image = pixels(32, 32)
    torch.testing.assert_close(predict(source.network, image), predict(model, image))


def test_a_card_names_what_a_backbone_of_ours_needs():
    pytest.importorskip('efficientnet_lite_pytorch')
    networks = tiny.networks()
    head = dict(networks['decode_head'], in_channels=24, in_index=0)
    settings = dict(networks, type='EncoderDecoder', decode_head=head)
    settings['backbone'] = dict(type='EfficientNetLite', pretrained=True)
    source = read_source(MODELS.build(settings), config_of(settings), dict(tiny.META), {})
    assert source.config.custom_imports.imports == ['mmseg_u2pl']
    assert 'pretrained' not in source.config.model.backbone
    assert 'pip install mmseg-u2pl efficientnet-lite-pytorch' in model_card(
        source, ['mmseg'], '', {}
    )
    source.config.test_pipeline = [dict(type='Resize', scale=(128, 96)), dict(type='Pack')]
    card = model_card(source, ['onnx'], '', {})
    assert "does it first: `{'type': 'Resize', 'scale': (128, 96)}`." in card
    assert 'config.py' not in card


def test_the_command_line(tmp_path, run_tool, capsys, refuses):
    model = tiny.ready('FixMatch', data_preprocessor=PREPROCESSOR)
    cfg = config_of(tiny.semi_config('FixMatch', data_preprocessor=PREPROCESSOR))
    meta = dict(cfg=cfg.pretty_text, dataset_meta=tiny.META, protocol=dict(name='few 1234'))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'iter_1.pth')
    run_tool('export.py', tmp_path / 'iter_1.pth', '-o', tmp_path / 'out', '--predictor', 'student')
    card = (tmp_path / 'out' / 'README.md').read_text()
    assert 'Labeled images: few 1234' in card
    assert '| 1 | green | [0, 200, 0] |' in card
    assert 'model.pth' in capsys.readouterr().out
    (tmp_path / 'out' / 'README.md').write_text('# Model card\n')  # of an export that failed
    run_tool('export.py', tmp_path / 'iter_1.pth', '-o', tmp_path / 'out', '--predictor', 'student')
    assert (tmp_path / 'out' / 'README.md').read_text() == card
    assert 'left from' not in capsys.readouterr().out
    run_tool(
        'export.py', tmp_path / 'iter_1.pth', '-o', tmp_path / 'out', '--format', 'torchscript'
    )
    assert (
        'left from an earlier export, and not described: config.py, model.pth\n'
        in capsys.readouterr().out
    )
    with pytest.raises(SystemExit) as stop:
        run_tool('export.py', tmp_path / 'iter_1.pth', '-o', tmp_path / 'out', '--images', tmp_path)
    assert stop.value.code == 2
    assert (tmp_path / 'out' / 'README.md').read_text().count(
        '\n'
    ) > 5  # of the last one that worked
    (tmp_path / 'README.md').write_text('# Mine')
    with refuses('README.md is not of an export by this tool'):
        run_tool('export.py', tmp_path / 'iter_1.pth', '-o', tmp_path)


def test_after_a_failure_the_folder_can_be_used_again(tmp_path, run_tool, monkeypatch, refuses):
    model = tiny.ready('FixMatch', data_preprocessor=PREPROCESSOR)
    cfg = config_of(tiny.semi_config('FixMatch', data_preprocessor=PREPROCESSOR))
    meta = dict(cfg=cfg.pretty_text, dataset_meta=tiny.META)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'iter_1.pth')

    def fail(source, out, *others):
        (out / 'model.pth').touch()
        raise ValueError('no such operator')

    words = ['export.py', tmp_path / 'iter_1.pth', '-o', tmp_path / 'out']
    with monkeypatch.context() as patch, refuses('no such operator'):
        patch.setattr('mmseg_u2pl.inference.export.export', fail)
        run_tool(*words)
    run_tool(*words)


def test_what_a_data_set_class_ignores_by_itself_is_exported():
    cfg = config_of(tiny.semi_config('FixMatch', data_preprocessor=PREPROCESSOR))
    cfg.test_dataloader.dataset = dict(type='ADE20KDataset', pipeline=[])
    cfg.test_pipeline = []
    parts = dict.fromkeys(('backbone', 'decode_head'))
    assert plain_config(cfg, parts, Grid(1), {}, []).test_dataloader.dataset.reduce_zero_label


def test_a_cascade_is_refused(tmp_path):
    cfg = config_of(tiny.semi_config('FixMatch', data_preprocessor=PREPROCESSOR))
    cfg.model.decode_head = [cfg.model.decode_head] * 2
    with pytest.raises(ValueError, match='cascade'):
        plain_config(cfg, {'backbone': None, 'decode_head': None}, Grid(1), {}, [])
