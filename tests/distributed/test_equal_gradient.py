"""What several processes compute is what one would, as far as the formulas allow.

Means over pixels are the same where each process has as many valid ones. The thresholds of
entropy, the class centers and the draws of the contrastive loss differ by process; of these
losses, the gradient is the mean over processes.
"""

import copy
from itertools import chain

import cross
import numpy as np
import pytest
import tiny
import torch
from mmengine.model import MMDistributedDataParallel
from processes import of_all_ranks
from torch.nn.modules.batchnorm import _BatchNorm

PARTS = dict(aux=True, dropout=0.0, contrastive=None, mix=None, teacher=dict(norm='ema'))


def right_half(entropy, pseudo, progress):
    """In the place of each process's threshold: everywhere as many pixels are unreliable."""
    unreliable = pseudo != 255
    unreliable[..., : pseudo.shape[-1] // 2] = False
    return unreliable, entropy.mean()


def build(warmup_iters):
    """A network whose BatchNorm layers are frozen, since they see one process's images."""
    model = tiny.u2pl(warmup_iters=warmup_iters, **PARTS)
    model.selection.forward = right_half
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def batch(rank):
    return tiny.batch(seed=rank + 1, pad_rows=4)


def losses_and_gradients(model, wrapped, inputs, samples):
    losses = wrapped(inputs, samples, mode='loss')
    tiny.total(losses).backward()
    gradients = {n: p.grad.numpy() for n, p in model.named_parameters() if p.requires_grad}
    return {k: v.item() for k, v in losses.items() if 'loss' in k}, gradients


def step_together(rank, warmup_iters):
    model = build(warmup_iters)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    return losses_and_gradients(model, wrapped, *batch(rank))


@pytest.mark.parametrize('world_size', [2, 3])
@pytest.mark.parametrize('warmup_iters', [5, 0], ids=['warm-up', 'after it'])
def test_means_are_those_of_one_process_with_all_images(warmup_iters, world_size, together):
    results = together(world_size, step_together, warmup_iters)
    batches = [batch(rank) for rank in range(world_size)]
    inputs, samples = (
        {name: [part[i][name] for part in batches] for name in ('sup', 'unsup')} for i in (0, 1)
    )
    model = build(warmup_iters)
    losses, gradients = losses_and_gradients(
        model,
        model,
        {name: torch.cat(parts) for name, parts in inputs.items()},
        {name: list(chain(*parts)) for name, parts in samples.items()},
    )
    assert {'sup.decode.loss_ce', 'sup.aux.loss_ce'} <= set(losses)
    assert ('unsup.loss_ce' in losses) == (warmup_iters == 0)
    for name, value in losses.items():
        each = [own[name] for own, _ in results]
        assert np.mean(each) == pytest.approx(value, rel=1e-5), name
    for _, own in results:
        for name, gradient in gradients.items():
            np.testing.assert_allclose(own[name], gradient, rtol=1e-3, atol=1e-6, err_msg=name)


SETTINGS = {
    'U2PL': dict(mix=tiny.always()),
    'FixMatch': {**tiny.BALANCED, 'contrastive': {}},
    'MeanTeacher': dict(view=dict(type='PhotometricView')),
    'UniMatch': dict(view=dict(type='PhotometricView')),
    'UniMatchV2': dict(contrastive={}),
}


def average_gradients(rank, kind):
    """The gradient of a distributed step against those that the processes have alone."""
    if kind in ('CrossPseudo', 'RRN'):
        model, samples_u = cross.build(kind), 4
    else:
        model, samples_u = tiny.semi(kind, **SETTINGS[kind]), 2
    alone = copy.deepcopy(model)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    gradients = []
    for network in (alone, wrapped):
        torch.manual_seed(rank)  # each process draws its own boxes, anchors and negatives
        losses = network(*tiny.batch(2, samples_u, seed=rank + 1), mode='loss')
        tiny.total(losses).backward()
    for name, parameter in alone.named_parameters():
        if not parameter.requires_grad:
            continue
        own = of_all_ranks(parameter.grad)
        gradients.append(own)
        shared = model.get_parameter(name).grad
        torch.testing.assert_close(shared, sum(own) / len(own), msg=name)
    assert any(not torch.equal(own[0], own[1]) for own in gradients)


@pytest.mark.parametrize('kind', [*SETTINGS, 'CrossPseudo', 'RRN'])
def test_the_gradient_is_the_mean_over_processes(kind, together):
    together(3, average_gradients, kind)
