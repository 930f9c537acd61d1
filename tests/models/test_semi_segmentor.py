"""What every semi-supervised segmentor shares: warm-up, prediction, streams, messages."""

import pytest
import tiny
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_u2pl.models import SemiDataPreprocessor

TRAIN_PREFIXES = ('teacher', 'representation_head', 'contrastive')
METHODS = ['U2PL', 'FixMatch', 'MeanTeacher', 'UniMatch', 'UniMatchV2']


def plain_and_semi(kind='U2PL', **config):
    """mmseg's EncoderDecoder and a method with the same weights, in its warm-up."""
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks(**config))).train()
    semi = tiny.semi(kind, warmup_iters=5, progress=(4, 10), **config)
    state = plain.state_dict()
    assert set(state) <= set(semi.state_dict())
    semi.load_state_dict(state, strict=False)
    return plain, semi


@pytest.mark.parametrize('kind', ['U2PL', 'MeanTeacher'])
def test_a_method_that_needs_a_teacher_says_so(kind):
    with pytest.raises(ValueError, match=f'{kind} needs a teacher, got teacher=None'):
        tiny.semi(kind, teacher=None)


# ------------------------------------------------------------------------------ warm-up
@pytest.mark.parametrize(('kind', 'aux'), [('U2PL', False), *((kind, True) for kind in METHODS)])
def test_the_warm_up_is_plain_supervised_training(kind, aux):
    plain, semi = plain_and_semi(kind, aux=aux)
    inputs, samples = tiny.batch(pad_rows=3)
    torch.manual_seed(7)  # dropout draws the same channels
    expected = plain.loss(inputs['sup'], samples['sup'])
    torch.manual_seed(7)
    losses = semi.loss(inputs, samples)
    assert losses.pop('contrast.loss_nce', torch.zeros(())) == 0
    assert set(losses) == {f'sup.{name}' for name in expected}
    for name, value in expected.items():
        assert torch.equal(losses[f'sup.{name}'], value), name
    tiny.total(losses).backward()
    tiny.total(expected).backward()
    parameters = dict(semi.named_parameters())
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameters[name].grad, parameter.grad), name
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
        semi.before_iter(iteration, 12)
        assert semi.progress == progress
        assert semi.in_warmup is warm
        assert semi.teacher.started is not warm
    semi.before_iter(10, 12)
    assert semi.progress == 0.75
    semi.before_iter(4, 4)  # a warm-up as long as the training divides by nothing
    assert semi.progress == 0


# ------------------------------------------------------------------- before the teacher
@pytest.mark.parametrize('kind', METHODS)
def test_a_teacher_that_has_not_started_refuses_to_teach(kind):
    """It never becomes the student silently: not even where a hook forgot to start it."""
    model = tiny.semi(kind, warmup_iters=5, contrastive=None)
    if kind in ('FixMatch', 'UniMatch'):
        model = tiny.semi(kind, warmup_iters=5, teacher=dict(norm='ema'))
    model._iteration = 6  # as if the warm-up had ended
    with pytest.raises(RuntimeError, match='teacher has not started'):
        model.loss(*tiny.batch())
    with pytest.raises(RuntimeError, match='teacher has not started'):
        model(torch.randn(1, 3, *tiny.CROP))  # predict by it, in training mode


def test_in_the_warm_up_validation_scores_a_copy_of_the_student():
    model = tiny.u2pl(warmup_iters=5)
    with torch.no_grad():  # the student learns
        for parameter in model.decode_head.parameters():
            parameter.add_(torch.rand_like(parameter))
    images = torch.randn(1, 3, *tiny.CROP)
    model.eval()
    student, stale = tiny.predict(model, 'student', images), tiny.predict(model, 'teacher', images)
    assert not torch.allclose(student, stale)
    model.before_val()
    assert torch.equal(tiny.predict(model, 'teacher', images), student)
    assert not model.teacher.started  # it is still to start


def test_validation_leaves_a_teacher_that_has_started_alone():
    model = tiny.ready()
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    model.before_val()
    for name, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


# ----------------------------------------------------------------------------- a new run
def test_a_new_run_starts_teacher_bank_and_shares_again_and_a_resumed_one_keeps_them():
    settings = dict(
        teacher=dict(norm='ema'), contrastive=dict(delta_p=0.0, momentum_prototypes=True),
        alignment=dict(type='ClassAlignment'),
    )  # fmt: skip
    model = tiny.semi('FixMatch', **settings)
    model.after_step(model.loss(*tiny.batch()))
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    contrastive, alignment = model.contrastive, model.alignment
    assert contrastive.bank.count.sum() > 0
    model.begin_run(resumed=True)
    assert model.teacher.started
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name]), name

    model.begin_run(resumed=False)
    assert not model.teacher.started
    for state in (
        model.teacher.updates, contrastive.bank.count, contrastive.bank.cursor,
        contrastive.prototype_updates, alignment.label_count, alignment.predicted_share,
    ):  # fmt: skip
        assert not state.any()
    assert contrastive.bank.fill() == 0
    model.before_iter(0, 10)
    for name, value in model.teacher.decode_head.state_dict().items():
        assert torch.equal(value, saved[f'decode_head.{name}']), name  # the student's


# --------------------------------------------------------------------------- prediction
def test_the_student_predicts_what_a_plain_encoder_decoder_does():
    plain, semi = plain_and_semi()
    semi.predictor = 'student'
    images = torch.randn(2, 3, *tiny.CROP)
    one, other = (model.eval().predict(images) for model in (plain, semi))
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
    assert torch.equal(plain(images), semi(images))  # mode='tensor'


def test_the_teacher_predicts_by_default():
    _, semi = plain_and_semi()
    semi.before_iter(5, 10)
    images = torch.randn(2, 3, *tiny.CROP)
    student = semi.eval()(images)
    with torch.no_grad():
        semi.decode_head.conv_seg.bias.add_(torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(semi(images), student)  # the student moved, the teacher did not
    semi.teacher.update(semi)  # m = ½: half way
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
@pytest.mark.parametrize('kind', METHODS)
def test_the_missing_hook_is_named(kind):
    model = MODELS.build(tiny.semi_config(kind))
    with pytest.raises(
        RuntimeError, match=rf"{kind} .*dict\(type='SemiTrainingHook'\) to default_hooks"
    ):
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


def test_the_streams_of_a_step():
    inputs, samples = tiny.batch(2, 3, pad_rows=5)
    batch = tiny.u2pl().stream_batch(inputs, samples)
    assert batch.images_l is inputs['sup']
    assert batch.images_u is inputs['unsup']
    assert torch.equal(batch.labels, tiny.labels_of(samples['sup']))
    assert batch.valid.dtype == torch.bool
    assert batch.valid[:, :-5].all()
    assert not batch.valid[:, -5:].any()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(warmup_iters=-2), 'warmup_iters .* -2'),
        (dict(predictor='ensemble'), "predictor='ensemble' .*teacher"),
        (dict(contrastive=dict(temperature=0)), 'temperature .* 0'),
        (dict(contrastive=dict(bank_dtype='int8')), "'int8'"),
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
    without = MODELS.build(tiny.u2pl_config())  # as mmengine allows
    assert type(without.data_preprocessor) is SemiDataPreprocessor


def test_a_setting_that_is_none_is_named_with_the_nearest():
    with pytest.raises(
        TypeError, match="FixMatch has no setting 'unsup_wight': is it 'unsup_weight'"
    ):
        tiny.semi('FixMatch', unsup_wight=2.0)
