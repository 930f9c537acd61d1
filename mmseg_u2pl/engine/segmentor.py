"""The segmentor of a runner."""

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.models.segmentors import SegTTAModel


def segmentor(runner: Runner) -> Any:
    """The model without a distributed wrapper and without test-time augmentation."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, SegTTAModel):
        model = model.module
    return model
