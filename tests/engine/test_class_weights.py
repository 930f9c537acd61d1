"""Class weights of the supervised loss: values by hand, and their effect in a run."""

from types import SimpleNamespace

import cross
import cv2
import numpy as np
import runs
import tiny
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_u2pl.datasets import SemiDataset
from mmseg_u2pl.engine import ClassWeightsHook
from mmseg_u2pl.engine.class_weights import class_weights


def test_weights_by_hand():
    # shares .9 .1: 1/√ = 1.0541 3.1623, whose mean over the pixels is 1.2649
    found = class_weights(np.array([90, 10, 0]))
    np.testing.assert_allclose(found, [0.8333, 2.5, 0], atol=1e-4)


def weighted(root, dataset=None, model=None, **config):
    """The model after the hook has seen the labeled masks."""
    torch.manual_seed(0)
    model = model or MODELS.build(tiny.u2pl_config(**config))
    loader = SimpleNamespace(dataset=dataset or tiny.semi_dataset(root))
    messages: list[str] = []
    logger = SimpleNamespace(info=messages.append)
    runner = SimpleNamespace(model=model, train_dataloader=loader, logger=logger)
    ClassWeightsHook().before_train(runner)
    return model, messages


def counted(root):
    """Shares of the three classes in the labeled masks, read plainly."""
    paths = sorted((root / 'masks/train').glob('l*.png'))
    masks = [np.array(cv2.imread(str(path), 0)) for path in paths]
    counts = np.bincount(np.concatenate(masks, axis=None), minlength=256)[:3]
    return counts / counts.sum()


def test_every_head_gets_the_weights_of_the_labeled_pixels(data_root):
    model, messages = weighted(data_root, aux=True)
    expected = counted(data_root) ** -0.5
    for head in (model.decode_head, model.auxiliary_head):
        weights = np.array(head.loss_decode.class_weight)
        np.testing.assert_allclose(weights / weights[0], expected / expected[0])
    assert 'green' in messages[0]


def test_both_networks_of_cross_supervision_get_them(data_root):
    model, _ = weighted(data_root, model=cross.build(aux=True))
    first = model.decode_head.loss_decode.class_weight
    assert first[0] != first[1]
    for head in (model.network2.decode_head, model.network2.auxiliary_head):
        assert head.loss_decode.class_weight == first


def test_the_supervised_baseline_gets_the_same(data_root):
    both, _ = weighted(data_root)
    config = dict(tiny.networks(), type='EncoderDecoder')
    dataset = SemiDataset(tiny.labeled_config(data_root))
    alone, _ = weighted(data_root, dataset, model=MODELS.build(config))
    assert both.decode_head.loss_decode.class_weight == alone.decode_head.loss_decode.class_weight


def test_the_loss_is_pytorchs_weighted_mean(data_root):
    model, _ = weighted(data_root)
    _, samples = tiny.batch(pad_rows=5)
    logits = torch.randn(2, 3, *tiny.CROP)
    loss = model.decode_head.loss_by_feat(logits, samples['sup'])['loss_ce']
    weight = torch.tensor(model.decode_head.loss_decode.class_weight)
    label = torch.cat([sample.gt_sem_seg.data for sample in samples['sup']])
    torch.testing.assert_close(loss, F.cross_entropy(logits, label, weight, ignore_index=255))


def test_a_class_without_labeled_pixels_is_shown(own_root):
    for path in (own_root / 'masks' / 'train').glob('*.png'):
        mask = np.array(cv2.imread(str(path), 0))
        mask[mask == 2] = 1
        cv2.imwrite(str(path), mask)
    model, messages = weighted(own_root)
    assert model.decode_head.loss_decode.class_weight[2] == 0
    assert 'no pixel' in messages[0]


def test_weights_in_the_config_are_not_replaced(data_root):
    head = tiny.networks()['decode_head']
    head['loss_decode']['class_weight'] = [1.0, 2.0, 3.0]
    tiny.assert_raises(
        ValueError, lambda: weighted(data_root, decode_head=head), 'class_weight=[1.0, 2.0, 3.0]'
    )


def test_a_loss_that_takes_no_weights_is_named(data_root):
    head = tiny.networks()['decode_head']
    head['loss_decode'] = dict(type='LovaszLoss', per_image=False, reduction='none')
    tiny.assert_raises(
        ValueError, lambda: weighted(data_root, decode_head=head), 'LovaszLoss', 'custom_hooks'
    )


def test_a_run_trains_with_weights(data_root, tmp_path):
    runner = runs.runner(data_root, tmp_path, max_iters=2, **{'train_cfg.val_interval': 2})
    runner.register_hook(ClassWeightsHook())
    runner.train()
    assert len(runner.model.decode_head.loss_decode.class_weight) == 3
