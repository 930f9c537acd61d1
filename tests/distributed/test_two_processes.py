"""Two gloo processes: equal banks and parameters, no hang in the warm-up or at its end."""

import cross
import pytest
import tiny
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from mmseg_u2pl.models import MemoryBank

PROCESSES = 2


def spawn(work, folder, *arguments):
    mp.spawn(_join, args=(work, f'file://{folder}/rendezvous', arguments), nprocs=PROCESSES)


def _join(rank, work, rendezvous, arguments):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=rendezvous, rank=rank, world_size=PROCESSES)
    try:
        work(rank, *arguments)
    finally:
        dist.destroy_process_group()


def of_all_ranks(tensor):
    gathered = [torch.empty_like(tensor) for _ in range(PROCESSES)]
    dist.all_gather(gathered, tensor.contiguous())
    return gathered


def push_apart(rank):
    """Rank 0 has one key of class 0, rank 1 two; class 1 is on rank 1 alone; class 2 nowhere."""
    bank = MemoryBank(num_classes=3, size=8, channels=2)
    counts = torch.tensor([[1, 0, 0], [2, 1, 0]])[rank]
    east, north, filler = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    keys = filler.expand(3, 2, 2).clone()
    keys[0, : counts[0]] = east if rank == 0 else north
    keys[1, : counts[1]] = north
    bank.push(keys, counts)
    assert bank.count.tolist() == [3, 1, 0]
    assert bank.features[0, :3].tolist() == [[1, 0], [0, 1], [0, 1]]  # rank 0's key first
    assert bank.features[1, 0].tolist() == [0, 1]
    assert (bank.features >= 0).all()  # no filler got in
    one, other = of_all_ranks(bank.features)
    assert torch.equal(one, other)


def test_keys_of_all_processes_reach_all_banks(tmp_path):
    spawn(push_apart, tmp_path)


def train_apart(rank, settings):
    """Four steps over the end of the warm-up; rank 1's unlabeled crops are pads in one of them."""
    model = tiny.u2pl(teacher=False, warmup_iters=2, **settings)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        model.set_progress(step, 4)
        if step == 2:
            model.teacher.copy_from(model)
        inputs, samples = tiny.batch(seed=10 * step + rank)
        if step == 3 and rank == 1:
            for sample in samples['unsup']:
                sample.gt_sem_seg.data.fill_(255)
        optimizer.zero_grad()
        tiny.total(wrapped(inputs, samples, mode='loss')).backward()
        optimizer.step()
        if step >= 2:
            model.teacher.update(model, step - 1)
    state = {k: v for k, v in model.state_dict().items() if 'running' not in k}  # own BatchNorm
    for name, value in state.items():
        one, other = of_all_ranks(value)
        assert torch.equal(one, other), name
    if model.contrastive is not None:
        assert model.contrastive.bank.count.sum() > 0
        assert model.contrastive.prototype_updates.sum() > 0


def test_parameters_teacher_bank_and_prototypes_stay_equal(tmp_path):
    spawn(train_apart, tmp_path, dict(contrastive=dict(momentum_prototypes=True)))


def test_no_branch_hangs_without_the_contrastive_term(tmp_path):
    spawn(train_apart, tmp_path, dict(contrastive=None))


def test_the_alignment_stays_equal(tmp_path):
    spawn(train_apart, tmp_path, dict(type='U2PLBalanced', contrastive=None))


def train_crossed(rank, kind, settings):
    """Six steps over the ends of both warm-ups; rank 1's unlabeled crops are pads in the last."""
    model = cross.build(kind, warmup_iters=1, aux=True, **settings)
    optimizers = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    if kind == 'RRN':
        optimizers['constructor'] = 'AdversarialOptimWrapperConstructor'
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        wrapper = build_optim_wrapper(wrapped, optimizers)
    start = {name: value.clone() for name, value in model.named_parameters()}
    for step in range(6):
        model.set_progress(step, 6)
        inputs, samples = tiny.batch(2, 4, seed=10 * step + rank)
        if step == 5 and rank == 1:
            for sample in samples['unsup']:
                sample.gt_sem_seg.data.fill_(255)
        losses = wrapped(inputs, samples, mode='loss')
        if kind == 'RRN' and step > 0:
            selected = of_all_ranks(losses['semi/selected_own'])
            assert all((share > 0) == (settings['threshold'] < 1) for share in selected)
        wrapper.update_params(tiny.total(losses))
    for name, value in model.named_parameters():
        one, other = of_all_ranks(value.detach())
        assert torch.equal(one, other), name
        assert not torch.equal(value, start[name]), name


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('CrossPseudo', {}),
        ('RRN', dict(threshold=0.0, selftrain_warmup_iters=3)),
        ('RRN', dict(threshold=2.0, selftrain_warmup_iters=3)),
    ],
    ids=['CPS', 'RRN', 'RRN that selects nothing'],
)
def test_four_parts_stay_equal(kind, settings, tmp_path):
    spawn(train_crossed, tmp_path, kind, settings)


def track_apart(rank):
    """Shares of the pixels of both processes, of which rank 1 has three times as many."""
    model = tiny.u2pl(type='U2PLBalanced')
    model.set_class_share(torch.tensor([0.5, 0.25, 0.25]))
    label = torch.full((1, 4, 4), 255)
    label[:, : 1 + 2 * rank] = rank  # 4 pixels of class 0, 12 of class 1
    model._track(label)
    expected = 0.98 * torch.tensor([0.5, 0.25, 0.25]) + 0.02 * torch.tensor([0.25, 0.75, 0.0])
    torch.testing.assert_close(model.predicted_share, expected)


def test_the_shares_are_those_of_all_pixels(tmp_path):
    spawn(track_apart, tmp_path)
