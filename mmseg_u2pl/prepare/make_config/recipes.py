"""What each method adds to a config beside its base, as the shipped configs have it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

BASES = Path(__file__).parents[1] / '.mim/configs/_base_'
PER_STEP = 4  # labeled images, as measured in docs/results.md


class Recipe(NamedTuple):
    """A method.

    Args:
        model: Class; None: a plain supervised network.
        best: Metric that chooses the checkpoint to keep.
        unlabeled: Images a step.
        warmup: Whether a quarter of the training sees labels alone.
        settings: Of the model.
        small: Model settings that go with a small network.
        optimizer: Settings of ``optim_wrapper``.
    """

    model: str | None
    best: str
    unlabeled: int = PER_STEP
    warmup: bool = True
    settings: Mapping[str, Any] = {}
    small: Mapping[str, Any] = {}
    optimizer: Mapping[str, Any] = {}


_SUPERVISED = Recipe(None, 'mIoU', unlabeled=0, warmup=False)
_ALL = {
    'u2pl_balanced': Recipe('U2PLBalanced', 'teacher/mIoU'),
    'u2pl': Recipe(
        'U2PL',
        'teacher/mIoU',
        small=dict(
            representation_head=dict(channels=64, out_channels=64),
            contrastive=dict(bank_size=5000),
        ),
    ),
    'cps_balanced': Recipe('CrossPseudo', 'mean/mIoU', unlabeled=2 * PER_STEP),
    'cps': Recipe('CrossPseudo', 'mean/mIoU', unlabeled=2 * PER_STEP, warmup=False),
    'rrn': Recipe(  # as a filter of CPS, which was ahead of the published form
        'RRN',
        'mean/mIoU',
        unlabeled=2 * PER_STEP,
        warmup=False,
        settings=dict(target='cross', cps_weight=0.0, selection_weight=0.5, accepted_share=0.5),
        small=dict(discriminator=dict(grid=3)),
        optimizer=dict(
            constructor='AdversarialOptimWrapperConstructor',
            discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),
        ),
    ),
    'supervised_balanced': _SUPERVISED,
    'supervised': _SUPERVISED,
}
METHODS = {name: own for name, own in _ALL.items() if (BASES / f'methods/{name}.py').is_file()}


def is_balanced(method: str) -> bool:
    """Whether it weighs classes; it then also gets photometric distortion."""
    hooks = Config.fromfile(BASES / f'methods/{method}.py').get('custom_hooks', [])
    return any(hook['type'] == 'ClassWeightsHook' for hook in hooks)


def twin_of(method: str) -> str:
    """The supervised method with all of it that needs no unlabeled image."""
    return 'supervised_balanced' if is_balanced(method) else 'supervised'
