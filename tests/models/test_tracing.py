"""A built model can be traced and exported: prediction reads no state of training."""

import cross
import pytest
import tiny
import torch
from mmseg.registry import MODELS

CONFIGS = {
    'U2PL': tiny.semi_config('U2PL'),  # predicts with the teacher
    'UniMatch': tiny.semi_config('UniMatch'),  # with the student
    'CrossPseudo': cross.config(),
}


@pytest.mark.parametrize('kind', CONFIGS)
def test_a_traced_and_an_exported_model_predict_as_it_does(kind):
    """No hook has told it where training stands, as after ``init_model``."""
    model = MODELS.build(CONFIGS[kind]).eval()
    images, others = torch.randn(2, 1, 3, *tiny.CROP)
    with torch.no_grad():
        expected = model(others)
        traced = torch.jit.trace(model, images, check_trace=False)
        torch.testing.assert_close(traced(others), expected)
        exported = torch.export.export(model, (images,))
        torch.testing.assert_close(exported.module()(others), expected)
