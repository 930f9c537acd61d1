"""The methods of ``configs/_base_/methods``, and what a config of yours takes from them."""

from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmseg.registry import MODELS

BASES = (Path(__file__).parents[2] / '.mim/configs/_base_').resolve()
METHODS = sorted(
    path.stem for path in BASES.glob('methods/*.py') if not path.stem.endswith('_small')
)
DEFAULT = 'fixmatch_balanced'


class Method(NamedTuple):
    """A method as its base config describes it.

    ``model`` and ``optimizer`` are settings of these; no model: the supervised baseline. ``group``
    is the number of unlabeled images for each labeled one, ``ramp`` the argument that takes the
    warm-up's iterations, if there is one, ``best`` the metric that chooses the checkpoint.
    """

    name: str
    model: dict[str, Any]
    optimizer: dict[str, Any]
    group: int
    ramp: str
    best: str

    @property
    def balanced(self) -> bool:
        """Whether rare classes get larger weights in the supervised loss (``ClassWeightsHook``)."""
        return self.name.endswith('_balanced')

    def settings(self, iterations: int, crop: tuple[int, int]) -> dict[str, Any]:
        """Settings of the model for a training of so many iterations with crops of that size."""
        settings = dict(self.model)
        if self.ramp:
            settings[self.ramp] = iterations // 4  # as measured in docs/results.md
        if settings.get('type') == 'RRN' and min(crop) < 512:
            # as many regions as at 512
            settings['discriminator'] = {**settings.get('discriminator', {}), 'grid': 3}
        return settings


def read_method(name: str, small: bool = False) -> Method:
    """Read one of :data:`METHODS`, or its variant for small networks, if there is one."""
    variant = BASES / f'methods/{name}_small.py'
    path = variant if small and variant.is_file() else BASES / f'methods/{name}.py'
    parts = [part for part in Config.fromfile(path).to_dict().values() if isinstance(part, dict)]
    model = next((part for part in parts if 'type' in part), {})
    optimizer = next((part for part in parts if 'discriminator_optimizer' in part), {})
    if not model:
        return Method(name, {}, {}, 0, '', 'mIoU')
    kind = MODELS.get(model['type'])
    ramp = 'rampup_iters' if 'rampup_iters' in signature(kind).parameters else 'warmup_iters'
    group = kind.unlabeled_group
    first = 'teacher' if model.get('teacher') else kind.predictors[0]
    return Method(name, model, optimizer, group, ramp if group == 1 else '', f'{first}/mIoU')
