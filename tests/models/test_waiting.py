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


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(teacher_passes=1),
        dict(mix='classmix'),
        dict(contrastive=dict(momentum_prototypes=True)),
        dict(type='U2PLBalanced', contrastive=None, teacher_passes=1),
    ],
    ids=str,
)
def test_u2pl(settings, monkeypatch):
    model = tiny.u2pl(**{'mix_prob': 1.0, **settings})
    if settings.get('type') == 'U2PLBalanced':
        model.set_class_share(torch.tensor([0.7, 0.2, 0.1]))
    monkeypatch.setattr(torch.Tensor, 'is_cpu', False)  # what is done on a CPU alone may wait
    coin = 'aten._local_scalar_dense.default'  # of mix_prob, thrown by the host itself
    assert step(model, tiny.batch()) == [coin]


@pytest.mark.parametrize(
    'settings',
    [{}, dict(discriminator_target='correctness'), dict(vote='and'), dict(accepted_share=0.5)],
    ids=str,
)
def test_rrn(settings, monkeypatch):
    model = cross.build('RRN', progress=(5, 10), **settings)
    monkeypatch.setattr(torch.Tensor, 'is_cpu', False)
    assert step(model, tiny.batch(2, 4)) == []
