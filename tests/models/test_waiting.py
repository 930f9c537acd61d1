"""A step reads nothing back: the host runs ahead of the device."""

import cross
import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Syncs(TorchDispatchMode):
    """Operations that wait for a device: values read by the host, shapes that depend on values."""

    WAITING = ('_local_scalar_dense', 'nonzero', 'masked_select', 'unique')

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in self.WAITING):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def step(model, batch):
    """Operations of a training step that wait."""
    for network in getattr(model, 'networks', (model,)):
        network.decode_head.loss_decode.avg_non_ignore = False  # mmseg counts labels on the host
    with Syncs() as syncs:
        model.loss(*batch)
    return syncs.found


def test_waiting_is_found():
    with Syncs() as syncs:
        torch.ones(3).nonzero()
        torch.ones(()).item()
    assert len(syncs.found) == 2


COIN = 'aten._local_scalar_dense.default'
"""Of a mix of whole steps, tossed by the host itself."""


@pytest.mark.parametrize(
    ('kind', 'settings', 'waits'),
    [
        ('U2PL', dict(mix=tiny.always()), [COIN]),
        ('U2PL', dict(mix=tiny.always('ClassMix')), [COIN]),
        ('U2PL', dict(mix=None, contrastive=dict(momentum_prototypes=True)), []),
        ('FixMatch', dict(mix=dict(type='CutMix', prob=0.5, area=(0.02, 0.4))), []),
        ('FixMatch', tiny.BALANCED, [COIN]),
        ('FixMatch', dict(teacher=dict(norm='ema'), mix=None, contrastive={}), []),
        ('MeanTeacher', dict(view=dict(type='PhotometricView')), []),
        ('UniMatch', dict(mix=dict(type='CutMix', prob=0.5, area=(0.02, 0.4))), []),
        ('UniMatchV2', dict(mix=None, contrastive={}), []),
    ],
    ids=str,
)
def test_methods_of_one_network(kind, settings, waits, monkeypatch):
    model = tiny.semi(kind, **settings)
    monkeypatch.setattr(torch.Tensor, 'is_cpu', False)  # what is done on a CPU alone may wait
    assert step(model, tiny.batch()) == waits


@pytest.mark.parametrize('kind', ['U2PL', 'MeanTeacher'])
def test_the_teachers_update(kind):
    model = tiny.semi(kind)
    with Syncs() as syncs:
        model.before_iter(1, 10)
        model.after_step({})
    assert syncs.found == []


@pytest.mark.parametrize(
    'settings',
    [{}, dict(discriminator_target='correctness'), dict(vote='and'), dict(accepted_share=0.5)],
    ids=str,
)
def test_rrn(settings, monkeypatch):
    model = cross.build('RRN', progress=(5, 10), **settings)
    monkeypatch.setattr(torch.Tensor, 'is_cpu', False)
    assert step(model, tiny.batch(2, 4)) == []
