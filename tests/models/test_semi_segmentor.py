"""What every semi-supervised segmentor shares: warm-up, prediction, streams, messages."""

import pytest
import tiny
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

TRAIN_PREFIXES = ('teacher', 'representation_head', 'contrastive')


def plain_and_semi(**config):
    """mmseg's own EncoderDecoder and a U²PL with the same weights, in its warm-up."""
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks(**config))).train()
    semi = tiny.u2pl(teacher=False, warmup_iters=5, progress=(4, 10), **config)
    missing, unexpected = semi.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith(TRAIN_PREFIXES) for name in missing)
    return plain, semi


# ------------------------------------------------------------------------------ warm-up
@pytest.mark.parametrize('aux', [False, True])
def test_the_warm_up_is_plain_supervised_training(aux):
    plain, semi = plain_and_semi(aux=aux)
    inputs, samples = tiny.batch(pad_rows=3)
    torch.manual_seed(7)  # dropout draws the same channels
    expected = plain.loss(inputs['sup'], samples['sup'])
    torch.manual_seed(7)
    losses = semi.loss(inputs, samples)
    assert losses.pop('contrast.loss_nce') == 0
    assert set(losses) == {f'sup.{name}' for name in expected}
    for name, value in expected.items():
        assert torch.equal(losses[f'sup.{name}'], value), name
    tiny.total(losses).backward()
    tiny.total(expected).backward()
    own = dict(semi.named_parameters())
    for name, parameter in plain.named_parameters():
        assert torch.equal(own[name].grad, parameter.grad), name
    for name, buffer in plain.named_buffers():
        assert torch.equal(dict(semi.named_buffers())[name], buffer), name


def test_every_trainable_branch_is_in_the_graph_of_the_warm_up():
    _, semi = plain_and_semi()
    tiny.total(semi.loss(*tiny.batch())).backward()
    for name, parameter in semi.named_parameters():
        if name.startswith('representation_head'):
            assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name
        else:
            assert (parameter.grad is None) is name.startswith('teacher'), name


def test_progress_counts_from_the_end_of_the_warm_up():
    semi = tiny.u2pl(warmup_iters=4)
    for iteration, progress, warm in ((0, -0.5, True), (3, -0.125, True), (4, 0, False)):
        semi.set_progress(iteration, 12)
        assert semi.progress == progress
        assert semi.in_warmup is warm
    semi.set_progress(10, 12)
    assert semi.progress == 0.75
    semi.set_progress(4, 4)  # a warm-up as long as the training divides by nothing
    assert semi.progress == 0


# --------------------------------------------------------------------------- prediction
def test_the_student_predicts_what_a_plain_encoder_decoder_does():
    plain, semi = plain_and_semi()
    semi.predictor = 'student'
    images = torch.randn(2, 3, *tiny.CROP)
    one, other = (model.eval().predict(images) for model in (plain, semi))
    for own, their in zip(one, other, strict=True):
        assert torch.equal(own.seg_logits.data, their.seg_logits.data)
        assert torch.equal(own.pred_sem_seg.data, their.pred_sem_seg.data)
    assert torch.equal(plain(images), semi(images))  # mode='tensor'


def test_the_teacher_predicts_as_soon_as_it_exists():
    plain, semi = plain_and_semi()
    images = torch.randn(2, 3, *tiny.CROP)
    student = plain.eval()(images)
    assert torch.equal(semi.eval()(images), student)  # no teacher yet: the student
    semi.teacher.copy_from(semi)
    assert torch.equal(semi(images), student)
    with torch.no_grad():
        semi.decode_head.conv_seg.bias.add_(torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(semi(images), student)  # the student moved, the teacher did not
    semi.teacher.update(semi, 1)  # m = ½: half way
    moved = student + torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(semi(images), moved, rtol=1e-4, atol=1e-5)
    prediction = semi.predict(images)[0].pred_sem_seg.data
    upsampled = semi.upsample(moved, tiny.CROP)[0].argmax(0, keepdim=True)
    assert (prediction == upsampled).float().mean() > 0.99


def test_sliding_windows_go_through_the_teacher():
    semi = tiny.u2pl().eval()
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        semi.decode_head.conv_seg.bias.add_(100)
    semi.test_cfg = ConfigDict(mode='slide', crop_size=(32, 32), stride=(32, 16))
    logits = semi.predict(images)[0].seg_logits.data
    assert logits.max() < 50
    left, right = (semi.upsample(semi(images[..., x : x + 32]), (32, 32)) for x in (0, 16))
    torch.testing.assert_close(logits[..., :16], left[0, ..., :16])
    torch.testing.assert_close(logits[..., 32:], right[0, ..., 16:])
    torch.testing.assert_close(logits[..., 16:32], (left[0, ..., 16:] + right[0, ..., :16]) / 2)


# ----------------------------------------------------------------------------- messages
def test_the_missing_hook_is_named():
    model = MODELS.build(tiny.u2pl_config())
    with pytest.raises(RuntimeError, match=r"U2PL .* dict\(type='SemiProgressHook'\)"):
        model.loss(*tiny.batch())


def test_a_batch_without_streams_is_refused():
    model = tiny.u2pl()
    inputs, samples = tiny.batch()
    with pytest.raises(TypeError, match=r"dataset.type='SemiDataset'.*SemiDataPreprocessor"):
        model.loss(inputs['sup'], samples['sup'])
    with pytest.raises(TypeError, match='unsup'):
        model.loss(dict(sup=inputs['sup']), dict(sup=samples['sup']))


def test_crops_of_two_sizes_are_refused():
    inputs, samples = tiny.batch()
    other, other_samples = tiny.batch(size=(32, 40))
    inputs['unsup'], samples['unsup'] = other['unsup'], other_samples['unsup']
    with pytest.raises(ValueError, match=r'\(32, 32\), unlabeled \(32, 40\).*preprocessor.size'):
        tiny.u2pl().loss(inputs, samples)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mix='mixup'), "mix .* 'mixup'"),
        (dict(mix_prob=1.5), r'mix_prob .* 1\.5'),
        (dict(unreliable_percent=120), 'unreliable_percent .* 120'),
        (dict(unreliable_percent=-1), 'unreliable_percent .* -1'),
        (dict(teacher_passes=3), 'teacher_passes .* 3'),
        (dict(teacher_norm='eval'), "teacher_norm .* 'eval'"),
        (dict(ema_momentum=1.0), r'ema_momentum .* 1\.0'),
        (dict(warmup_iters=-2), 'warmup_iters .* -2'),
        (dict(predictor='ensemble'), "predictor='ensemble' .*teacher"),
        (dict(contrastive=dict(low_rank=3)), 'low_rank=3 .* low_rank=None'),
        (dict(contrastive=dict(temperature=0)), 'temperature .* 0'),
        (dict(contrastive=dict(bank_dtype='int8')), "'int8'"),
        (dict(contrastive=dict(bank_size=0)), 'bank size .* 0'),
    ],
)
def test_a_setting_outside_its_range_is_named_with_its_value(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny.u2pl_config(**settings))


def test_a_sigmoid_head_is_refused_with_the_remedy():
    config = tiny.u2pl_config(num_classes=2)
    config['decode_head'].update(out_channels=1)
    with pytest.raises(ValueError, match='num_classes=2 and out_channels=2'):
        MODELS.build(config)


def test_mmsegs_preprocessor_is_replaced_by_the_one_with_streams():
    settings = dict(type='SegDataPreProcessor', mean=[1.0] * 3, std=[2.0] * 3, size=(4, 4))
    model = MODELS.build(tiny.u2pl_config(data_preprocessor=settings))
    data = dict(
        inputs=[torch.full((3, 4, 4), 5)] * 2,
        data_samples=[tiny.sample(torch.zeros(4, 4))] * 2,
        stream=['unsup', 'sup'],
    )
    batch = model.data_preprocessor(data, training=True)['inputs']
    assert torch.equal(batch['sup'], torch.full((1, 3, 4, 4), 2.0))
    assert settings['type'] == 'SegDataPreProcessor'
