"""The config of one network for mmseg without this package."""

from inspect import signature
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS

from ..datasets.checks import leaf_configs
from ..models.data_preprocessor import Grid

TRAINING = ('init_cfg', 'pretrained', 'loss_decode', 'sampler', 'with_cp')
"""Settings of a network's parts that prediction does not use; some hold paths."""
NORMALIZATION = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr', 'pad_val', 'seg_pad_val')


def plain_config(
    cfg: Config, parts: dict[str, Any], grid: Grid, metainfo: dict, needs: list[str]
) -> Config:
    """The config of mmseg's ``EncoderDecoder`` and ``BaseSegDataset`` for one network.

    Raises:
        ValueError: It has several decode heads.
    """
    if isinstance(cfg.model.decode_head, (list, tuple)):
        raise ValueError('a cascade of decode heads cannot be exported: it is no EncoderDecoder')
    model = {name: _for_prediction(cfg.model[name]) for name in parts}
    if model['backbone']['type'] == 'HFBackbone':  # the name may be a folder of this machine
        known = parts['backbone'].model.config.to_diff_dict()
        model['backbone'].update(name='', pretrained=False, config=known)
    # mmseg's own default warns
    model['decode_head']['loss_decode'] = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    given = cfg.model.get('data_preprocessor') or {}
    preprocessor = {key: given[key] for key in NORMALIZATION if key in given}
    if grid.stride > 1 and not grid.offset:
        preprocessor['test_cfg'] = dict(size_divisor=grid.stride)
    elif given.get('test_cfg'):
        preprocessor['test_cfg'] = given['test_cfg']
    dataset = next(leaf_configs((cfg.get('test_dataloader') or {}).get('dataset') or {}))
    pipeline = [_host_transform(each) for each in dataset.get('pipeline') or cfg.test_pipeline]
    plain = dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', **preprocessor),
            **model,
            train_cfg=None,
            test_cfg=cfg.model.get('test_cfg') or dict(mode='whole'),
        ),
        test_pipeline=pipeline,
        test_dataloader=dict(
            batch_size=1,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='BaseSegDataset',
                data_root='data',
                data_prefix=dict(img_path='images', seg_map_path='masks'),
                metainfo=metainfo,
                reduce_zero_label=_reduces_zero_label(dataset),
                pipeline=pipeline,
            ),
        ),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        test_cfg=dict(type='TestLoop'),
        visualizer=dict(
            type='SegLocalVisualizer',
            vis_backends=[dict(type='LocalVisBackend')],
            name='visualizer',
        ),
    )
    if needs:
        plain['custom_imports'] = dict(imports=needs, allow_failed_imports=False)
    return Config(plain)


def _reduces_zero_label(dataset: dict) -> bool:
    """Whether label 0 is ignored; some classes of data sets say so by themselves."""
    kind = DATASETS.get(dataset.get('type', ''))
    known = signature(kind).parameters.get('reduce_zero_label') if kind else None
    return bool(dataset.get('reduce_zero_label', known.default if known else False))


def _for_prediction(value: Any) -> Any:
    """Settings of a network without those of training; BatchNorm of one process."""
    if isinstance(value, dict):
        kept = {key: _for_prediction(each) for key, each in value.items() if key not in TRAINING}
        return {**kept, 'type': 'BN'} if kept.get('type') == 'SyncBN' else kept
    if isinstance(value, list | tuple):
        return type(value)(_for_prediction(each) for each in value)
    return value


def _host_transform(settings: dict) -> dict:
    """A transform of the test pipeline that mmseg has; masks are class numbers there."""
    kind = TRANSFORMS.get(settings['type'])
    if kind is not None and kind.__module__.startswith('mmseg_u2pl.'):
        return dict(type='LoadAnnotations')
    return dict(settings)
