"""The contrastive loss on unreliable pixels (U²PL, Sec. 3.3)."""

from functools import partial

import torch
from mmengine.dist import all_reduce, get_world_size
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    IGNORE,
    Part,
    anchor_mask,
    class_prototypes,
    class_ranks,
    draw_with_replacement,
    draw_without_replacement,
    info_nce,
    labeled_negative_mask,
    nearest,
    slices,
    sum_of_parts,
    unlabeled_negative_mask,
    upcast,
)
from ..parts.memory_bank import MemoryBank
from ..settings import at_least_one, not_negative


@MODELS.register_module()
class UnreliableContrastiveLoss(nn.Module):
    """L_c: pixels of a class are pulled to its center and away from pixels of other classes.

    Args:
        num_classes: C.
        channels: D of the representations.
        delta_p: δ_p, the least teacher probability of an anchor.
        low_rank: r_l; None means 3, or 1 with fewer than 7 classes.
        high_rank: r_h.
        num_anchors: M anchors a class and step, drawn with replacement.
        num_negatives: N negatives an anchor, drawn with replacement.
        temperature: τ.
        bank_size: Representations kept a class.
        bank_dtype: ``'float16'`` or ``'float32'``, which scored no better (``docs/performance.md``).
        keys_per_step: K, the most keys a class, step and process that enter the bank.
        loss_weight: λ_c.
        align_corners: How logits are brought to the size of the representations.
        momentum_prototypes: Positives are running class means (U²PL+) instead of the batch's.

    Raises:
        ValueError: ``low_rank`` outside 1 ... min(``high_rank``, C) − 1; ``temperature`` ≤ 0; a negative
            ``loss_weight``; no anchor, negative or key.
    """

    prototypes: Tensor  # (C, D) running means, U²PL+ only
    prototype_updates: Tensor  # (C,)

    def __init__(
        self,
        num_classes: int,
        channels: int = 256,
        delta_p: float = 0.3,
        low_rank: int | None = None,
        high_rank: int = 20,
        num_anchors: int = 256,
        num_negatives: int = 50,
        temperature: float = 0.5,
        bank_size: int = 30_000,
        bank_dtype: str = 'float16',
        keys_per_step: int = 512,
        loss_weight: float = 0.1,
        align_corners: bool = False,
        momentum_prototypes: bool = False,
    ) -> None:
        super().__init__()
        limit = min(high_rank, num_classes)
        if low_rank is None:
            low_rank = min(3 if num_classes >= 7 else 1, limit - 1)
        if not 1 <= low_rank < limit:
            raise ValueError(
                f'low_rank={low_rank} leaves no unlabeled negatives: with {num_classes} classes '
                f'and high_rank={high_rank} it must be in 1 ... {limit - 1}; low_rank=None '
                'chooses a fitting one'
            )
        not_negative(**{'contrastive.loss_weight': loss_weight})
        at_least_one(
            **{
                'contrastive.num_anchors': num_anchors,
                'contrastive.num_negatives': num_negatives,
                'contrastive.keys_per_step': keys_per_step,
            }
        )
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.delta_p = delta_p
        self.low_rank = low_rank
        self.high_rank = high_rank
        self.num_anchors = num_anchors
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.keys_per_step = min(keys_per_step, max(1, bank_size // get_world_size()))
        self.loss_weight = loss_weight
        self.align_corners = align_corners
        self.momentum_prototypes = momentum_prototypes
        self.counts: dict[str, Tensor] = {}
        self.bank = MemoryBank(num_classes, bank_size, channels, bank_dtype)
        if momentum_prototypes:
            self.register_buffer('prototypes', torch.zeros(num_classes, channels))
            self.register_buffer('prototype_updates', torch.zeros(num_classes, dtype=torch.long))

    def restart(self) -> None:
        """Forget the running class means of another run; the bank does so by itself."""
        if self.momentum_prototypes:
            self.prototype_updates.zero_()

    def forward(
        self,
        rep: Tensor,
        teacher_rep: Tensor,
        teacher_logits: Tensor,
        labels: Tensor,
        pseudo: Tensor,
        unreliable: Tensor,
    ) -> Tensor:
        """λ_c·L_c of one step; pushes this step's keys into the bank first.

        Maps come to the size of the representations by nearest sampling, logits bilinearly. How
        many pixels took part is left in ``counts``, each (C,): ``anchors_labeled``,
        ``anchors_unlabeled``, ``negatives_labeled``, ``negatives_unlabeled``, ``bank``.

        Args:
            rep: Student representations (B, D, h, w), labeled images first.
            teacher_rep: Teacher representations (B, D, h, w), no gradient.
            teacher_logits: Of the same images (B, C, h', w'), no gradient.
            labels: y, long (B_l, H, W), 255 = ignored.
            pseudo: ŷ, long (B - B_l, H, W), 255 on padding.
            unreliable: Boolean, the shape of ``pseudo``, False on padding.

        Returns:
            Scalar; 0, with a graph, when no class takes part.
        """
        size, num_labeled = rep.shape[2:], len(labels)
        logits = teacher_logits.float()
        if logits.shape[2:] != size:
            logits = resize(logits, size, mode='bilinear', align_corners=self.align_corners)
        prob = logits.softmax(1)
        reliable = pseudo.masked_fill(unreliable, IGNORE)
        label = torch.cat((nearest(labels, size), nearest(reliable, size)))
        unreliable = nearest(unreliable, size)

        anchors = anchor_mask(prob, label, self.delta_p)  # (B, C, h, w)
        positives, present = self._positives(teacher_rep, anchors)  # (C, D), (C,)
        ranks_l, ranks_u = class_ranks(prob).split([num_labeled, len(pseudo)])
        of_labeled = labeled_negative_mask(ranks_l, label[:num_labeled], self.low_rank)
        of_unlabeled = unlabeled_negative_mask(ranks_u, unreliable, self.low_rank, self.high_rank)
        anchors, negatives = _rows(anchors), _rows(torch.cat((of_labeled, of_unlabeled)))

        keys, count = draw_without_replacement(negatives, self.keys_per_step)
        self.bank.push(_pixels(teacher_rep, keys), count)

        drawn = draw_with_replacement(anchors, self.num_anchors)  # (C, M)
        queries = _pixels(rep, drawn)  # (C, M, D)
        takes_part = present & (self.bank.count > 0)
        weight = takes_part / takes_part.sum().clamp(min=1)  # (C,)
        pixels = num_labeled * label[0].numel()
        self.counts = {
            'anchors_labeled': anchors[:, :pixels].sum(1),
            'anchors_unlabeled': anchors[:, pixels:].sum(1),
            'negatives_labeled': negatives[:, :pixels].sum(1),
            'negatives_unlabeled': negatives[:, pixels:].sum(1),
            'bank': self.bank.count.clone(),
        }
        return self.loss_weight * self._mean_nce(queries, positives, weight)

    def _mean_nce(self, queries: Tensor, positives: Tensor, weight: Tensor) -> Tensor:
        """Σ_c weight_c · InfoNCE of class c, with negatives from its bank (Eq. 8), part by part.

        Args:
            queries: (C, M, D).
            positives: (C, D).
            weight: (C,).
        """
        places = self.bank.draw(self.num_anchors * self.num_negatives)
        places = places.view(-1, self.num_negatives)  # of each query, (C·M, N)
        owner = torch.arange(len(weight), device=weight.device)
        owner = owner.repeat_interleave(self.num_anchors)  # (C·M,)
        weight = weight[owner] / self.num_anchors

        def nce(queries: Tensor, rows: slice) -> Tensor:
            negatives = self.bank.at(places[rows]).unsqueeze(1)  # (R, 1, N, D)
            positive = positives[owner[rows]].unsqueeze(1)
            each = info_nce(queries.unsqueeze(1), positive, negatives, self.temperature)  # (R,)
            return (each * weight[rows]).sum()

        need = self.num_negatives * queries.shape[2]
        parts: list[Part] = [
            (rows, partial(nce, rows=rows)) for rows in slices(len(owner), need, queries.device)
        ]
        return sum_of_parts(upcast(queries.flatten(0, 1)), parts)

    def _positives(self, teacher_rep: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Class centers (C, D) from the teacher's anchor pixels, and which classes have any."""
        means, present = class_prototypes(teacher_rep, anchors)
        if not self.momentum_prototypes:
            return means, present
        # m = min(1 − 1/k, 0.999), k the class's updates: the first mean is taken as it is
        weight = present.to(means.dtype)
        if get_world_size() > 1:
            packed = torch.cat((means * weight.unsqueeze(1), weight.unsqueeze(1)), dim=1)
            all_reduce(packed)
            means = packed[:, :-1] / packed[:, -1:].clamp(min=1)
            weight = (packed[:, -1] > 0).to(means.dtype)
        self.prototype_updates.add_(weight.long())
        momentum = (1 - 1 / self.prototype_updates.clamp(min=1)).clamp(max=0.999)
        change = (weight * (1 - momentum)).unsqueeze(1)
        self.prototypes.lerp_(means, change)
        return self.prototypes.clone(), present


def _pixels(rep: Tensor, places: Tensor) -> Tensor:
    """Representations (B, D, h, w) at places (C, K) of :func:`_rows`: (C, K, D)."""
    rep = rep.flatten(2)
    return rep[places // rep.shape[2], :, places % rep.shape[2]]


def _rows(mask: Tensor) -> Tensor:
    """(B, C, h, w) → (C, B·h·w)."""
    return mask.transpose(0, 1).flatten(1)
