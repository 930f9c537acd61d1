"""Several gloo processes: equal banks and parameters, no hang in the warm-up or at its end."""

import cross
import pytest
import tiny
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from processes import assert_same, of_all_ranks

from mmseg_u2pl.models import ClassAlignment, MemoryBank

two_and_three = pytest.mark.parametrize('world_size', [2, 3])


def push_apart(rank, world_size):
    """One key of class 0 is from rank 0, two from rank 1; class 1 is nowhere but on ranks 1, 2."""
    bank = MemoryBank(num_classes=3, size=8, channels=2)
    counts = torch.tensor([[1, 0, 0], [2, 1, 0], [0, 2, 0]])[rank]
    own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])[rank]
    keys = torch.tensor([-1.0, 0.0]).expand(3, 2, 2).clone()  # fillers
    for label, count in enumerate(counts):
        keys[label, :count] = own
    bank.push(keys, counts)
    ordered = [[1, 0], [0, 1], [0, 1]]  # rank 0's key first
    assert bank.features[0, :3].tolist() == ordered
    expected = torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.6, 0.8]])[: 2 * world_size - 3]
    torch.testing.assert_close(bank.features[1, : len(expected)], expected)
    assert bank.count.tolist() == [3, len(expected), 0]
    assert (bank.features >= 0).all()  # no filler got in
    assert_same(dict(features=bank.features, cursor=bank.cursor))


@two_and_three
def test_keys_of_all_processes_reach_all_banks(world_size, together):
    together(world_size, push_apart, world_size)


def train_apart(rank, settings):
    """Four steps over the end of the warm-up; rank 1's unlabeled crops are padding in the last."""
    settings = dict(settings)
    model = tiny.semi(settings.pop('kind'), warmup_iters=2, **settings)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        model.before_iter(step, 4)
        inputs, samples = tiny.batch(seed=10 * step + rank)
        if step == 3 and rank == 1:
            pad(samples['unsup'])
        optimizer.zero_grad()
        losses = wrapped(inputs, samples, mode='loss')
        tiny.total(losses).backward()
        optimizer.step()
        model.after_step(losses)
    state = model.state_dict()
    # BatchNorm's statistics are those of the images of a process
    assert_same({k: v for k, v in state.items() if 'running' not in k})
    assert model.teacher.updates == 3
    if model.contrastive is not None:
        assert model.contrastive.bank.count.sum() > 0
        assert model.contrastive.prototype_updates.sum() > 0


def pad(samples):
    for sample in samples:
        sample.gt_sem_seg.data.fill_(255)


@two_and_three
@pytest.mark.parametrize(
    'settings',
    [
        dict(kind='U2PL', contrastive=dict(momentum_prototypes=True)),
        dict(kind='U2PL', contrastive=None),
        dict(kind='FixMatch', **tiny.BALANCED),
        dict(kind='MeanTeacher'),
        dict(kind='UniMatchV2'),
    ],
    ids=['all parts', 'no contrastive loss', 'FixMatch, balanced', 'Mean Teacher', 'UniMatch V2'],
)
def test_nothing_drifts_apart_over_the_end_of_the_warm_up(settings, world_size, together):
    together(world_size, train_apart, settings)


def train_unevenly(rank, world_size):
    """Class 2 is on the last rank alone, and the others have no unlabeled pixel."""
    model = tiny.u2pl(contrastive=dict(delta_p=0.0, momentum_prototypes=True))
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    last = rank == world_size - 1
    for step in range(2):
        inputs, samples = tiny.batch(seed=10 * step + rank)
        if not last:
            pad(samples['unsup'])
            for sample in samples['sup']:
                labels = sample.gt_sem_seg.data
                labels[labels == 2] = 0
        model.zero_grad()
        tiny.total(wrapped(inputs, samples, mode='loss')).backward()
        counts = model.class_statistics()
        assert (counts['anchors_labeled'][2] > 0) == last
        assert (counts['anchors_unlabeled'].sum() > 0) == last
        assert (counts['negatives_unlabeled'].sum() > 0) == last
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        assert [name for name, grad in gradients.items() if grad is None] == []
        assert all(grad.isfinite().all() for grad in gradients.values())
        assert_same(gradients)
    assert (model.contrastive.prototype_updates == 2).all()  # class 2's came from the last rank
    assert_same(dict(model.contrastive.named_buffers()))


@two_and_three
def test_a_class_and_unlabeled_pixels_on_one_rank_only(world_size, together):
    together(world_size, train_unevenly, world_size)


def train_crossed(rank, kind, settings):
    """Six steps over the ends of both warm-ups; rank 1's unlabeled crops are padding in the last."""
    model = cross.build(kind, warmup_iters=1, aux=True, **settings)
    optimizers = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    if kind == 'RRN':
        optimizers['constructor'] = 'SemiOptimWrapperConstructor'
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    wrapper = build_optim_wrapper(wrapped, optimizers)
    start = {name: value.clone() for name, value in model.named_parameters()}
    for step in range(6):
        model.before_iter(step, 6)
        inputs, samples = tiny.batch(2, 4, seed=10 * step + rank)
        if step == 5 and rank == 1:
            pad(samples['unsup'])
        losses = wrapped(inputs, samples, mode='loss')
        if kind == 'RRN' and step > 0:
            accepted = of_all_ranks(losses['semi/accepted_own'])
            assert all((share > 0) == (settings['threshold'] < 1) for share in accepted)
        wrapper.update_params(tiny.total(losses))
    parameters = dict(model.named_parameters())
    assert_same(parameters)
    for name, value in parameters.items():
        assert not torch.equal(value, start[name]), name


@pytest.mark.parametrize(
    ('world_size', 'kind', 'settings'),
    [
        (2, 'CrossPseudo', {}),
        (2, 'RRN', dict(threshold=0.0, selftrain_warmup_iters=3)),
        (3, 'RRN', dict(threshold=0.0, selftrain_warmup_iters=3)),
        (2, 'RRN', dict(threshold=2.0, selftrain_warmup_iters=3)),
    ],
    ids=['CPS', 'RRN', 'RRN, three processes', 'RRN that accepts nothing'],
)
def test_four_parts_stay_equal(world_size, kind, settings, together):
    together(world_size, train_crossed, kind, settings)


def track_apart(rank, world_size):
    """Shares of the pixels of all processes, of which the later ranks have more."""
    part = ClassAlignment(3)
    label = torch.full((1, 4, 4), 255)
    label[:, : 1 + rank] = rank  # 4 pixels of class 0, 8 of class 1, 12 of class 2
    part.observe_labels(label)
    pixels = torch.tensor([4.0, 8.0, 12.0 if world_size == 3 else 0.0])
    assert part.label_count.tolist() == pixels.tolist()
    start = part.label_share
    part.observe_predictions(label, label != 255)
    expected = 0.98 * start + 0.02 * pixels / pixels.sum()
    torch.testing.assert_close(part.predicted_share, expected)
    assert_same(dict(part.named_buffers()))


@two_and_three
def test_the_shares_are_those_of_all_pixels(world_size, together):
    together(world_size, track_apart, world_size)
