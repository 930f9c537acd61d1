"""Signs that training on pseudo-labels collapses, from what is seen at each validation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

PATIENCE = 2
"""Validations in a row that show a sign before it is reported."""
LONG, RECOVER = 3, ('unknown', 'behind')
"""Of signs from which runs often recover."""
RARE = 1e-3
"""A class with a smaller share of the pixels may come and go."""
VANISHED = 0.02
"""Of the share that a class had, in labels and in pseudo-labels."""
OTHERS = 0.1
"""Of the share that the labels leave to all classes but one."""
SURE, UNSURE = 1e-3, 0.9
"""Mean entropy, as a share of ln C. Trained networks are between 0.01 and 0.3."""
BEHIND = 2.0
"""Points of mIoU. In healthy runs the teacher is 1 behind to 1.5 ahead."""


class Labeled(NamedTuple):
    """The pseudo-labels of one network at a validation."""

    share: np.ndarray
    """Of each class (C,) among the pseudo-labels."""
    kept: np.ndarray
    """Pixels with a kept pseudo-label of each class (C,), as a share of all pixels."""
    entropy: float
    """Mean of the network's probabilities, as a share of ln C."""


class CollapseAlarm:
    """Names a sign of collapse once it lasts; a sign that goes away is forgotten.

    Args:
        classes: C names.
        counts: Labeled pixels of each class (C,).
    """

    def __init__(self, classes: Sequence[str], counts: np.ndarray) -> None:
        self.classes = classes
        self.share = counts / max(1, counts.sum())
        self._most: dict[str, np.ndarray] = {}
        self._seen: dict[str, list[int]] = {}

    def update(
        self,
        iteration: int,
        labeled: Mapping[str, Labeled],
        metrics: Mapping[str, float],
        bank: np.ndarray | None,
    ) -> list[str]:
        """What to warn of at a validation after the warm-up.

        Args:
            iteration: Iterations done.
            labeled: By the name of the network that labels.
            metrics: Of the validation, such as ``teacher/mIoU`` and ``teacher/IoU.cat``, percent.
            bank: Keys of each class (C,) in the memory bank, if there is one.

        Returns:
            Texts that say what, since when and what to try; each sign once.
        """
        signs = {
            f'{name} {sign}': f'{name}: {text}'
            for name, one in labeled.items()
            for sign, text in self._of_labels(name, one, metrics)
        }
        behind = metrics.get('student/mIoU', 0) - metrics.get('teacher/mIoU', np.inf)
        if behind > BEHIND:
            signs['behind'] = (
                f'the teacher is {behind:.1f} points of mIoU behind the student. Try a smaller '
                'model.teacher.momentum (0.99 → 0.95): it averages over too many steps'
            )
        if bank is not None and (missing := (bank == 0) & (self.share > RARE)).any():
            what = f'has no keys of {self._names(missing)}' if bank.any() else 'is empty'
            signs['bank'] = (
                f'the memory bank {what}: the contrastive loss skips these classes. Try a longer '
                'warm-up (model.warmup_iters) or a smaller model.contrastive.low_rank'
            )
        self._seen = {sign: [*self._seen.get(sign, []), iteration] for sign in signs}
        return [
            f'{text} (since iteration {self._seen[sign][0]})'
            for sign, text in signs.items()
            if len(self._seen[sign]) == (LONG if sign.endswith(RECOVER) else PATIENCE)
        ]

    def _of_labels(
        self, name: str, one: Labeled, metrics: Mapping[str, float]
    ) -> Iterable[tuple[str, str]]:
        """Each sign of a network's labels, and a text."""
        most = self._most[name] = np.maximum(self._most.get(name, 0), one.kept)
        usual = np.minimum(most, self.share)
        unknown = np.array([metrics.get(f'{name}/IoU.{title}') == 0 for title in self.classes])
        unknown &= (self.share > RARE) & (one.kept < VANISHED * self.share) & (usual <= RARE)
        if unknown.any():
            yield (
                'unknown',
                f'no pseudo-labels of {self._names(unknown)}, whose IoU on the validation images is 0. '
                'Try a longer warm-up (model.warmup_iters), ClassWeightsHook, or more labels of them',
            )
        for index in map(int, np.flatnonzero((usual > RARE) & (one.kept < VANISHED * usual))):
            yield (
                f'{index} vanished',
                f'pseudo-labels of {self.classes[index]} vanish: kept on {one.kept[index]:.2%} of '
                f'the pixels, once on {most[index]:.1%}. Try '
                "model.alignment=dict(type='ClassAlignment'), a selection per class, "
                'ClassWeightsHook, or more labels of it',
            )
        first = int(one.share.argmax())
        if 1 - one.share[first] < OTHERS * (1 - self.share[first]):
            yield (
                f'{first} everywhere',
                f'{one.share[first]:.1%} of the pseudo-labels are {self.classes[first]}, of the '
                f'labels {self.share[first]:.1%}. Try a longer warm-up (model.warmup_iters), '
                "model.alignment=dict(type='ClassAlignment') or ClassWeightsHook",
            )
        if one.entropy < SURE:
            yield (
                'sure',
                f'the mean entropy fell to {one.entropy:.1e} of ln C: it is sure of its mistakes, '
                'too. Try a lower learning rate, a lower weight of the loss on pseudo-labels, or a '
                'stronger model.view',
            )
        if one.entropy > UNSURE:
            yield (
                'unsure',
                f'the mean entropy is {one.entropy:.2f} of ln C: it takes all classes for alike. '
                'Try a longer warm-up (model.warmup_iters) or another learning rate',
            )

    def _names(self, chosen: np.ndarray) -> str:
        return ', '.join(name for name, flag in zip(self.classes, chosen, strict=True) if flag)
