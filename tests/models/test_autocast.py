"""Every method takes a step in mixed precision."""

from functools import cache

import cross
import pytest
import tiny
import torch

DTYPES = [torch.bfloat16, torch.float16]
KINDS = [
    'U2PL',
    *('FixMatch', 'FixMatch, balanced'),
    'MeanTeacher',
    'UniMatch',
    'UniMatchV2',
    'CrossPseudo',
    'RRN',
]
SETTINGS = {
    'U2PL': dict(mix=tiny.always()),
    'FixMatch, balanced': tiny.BALANCED,
    'MeanTeacher': dict(mse_weight=1.0),
    'RRN': dict(threshold=0.5),
}


@cache
def step(kind, dtype=None):
    """Losses and gradient norm of one step; ``dtype`` None is float32."""
    model, batch = middle(kind)
    torch.manual_seed(0)
    with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
        losses = model.loss(*batch)
    grads = cross.gradients(model, losses)
    # labeling casts weights without a gradient; a student must not use these casts again
    assert tiny.without_gradient(model) == []
    return losses, torch.stack([g.norm() for g in grads.values() if g is not None]).norm()


def middle(kind):
    """The model in the middle of training, and a batch for it."""
    settings = dict(SETTINGS.get(kind, {}), progress=(5, 10), aux=True)
    if kind in ('CrossPseudo', 'RRN'):
        return cross.build(kind, **settings), tiny.batch(2, 4)
    return tiny.semi(kind.split(',')[0], **settings), tiny.batch()


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('kind', KINDS)
def test_a_step_is_that_of_float32_within_rounding(kind, dtype):
    expected, expected_norm = step(kind)
    losses, norm = step(kind, dtype)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        if 'loss' in name:
            torch.testing.assert_close(losses[name].float(), value, rtol=0.1, atol=0.02, msg=name)
    torch.testing.assert_close(norm, expected_norm, rtol=0.2, atol=0.0)
