"""What trains a discriminator of RRN."""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.profiler import record_function

from ...functional import IGNORE, region_share, upcast

MapsAndImages: TypeAlias = tuple[Tensor, Tensor]
"""Label maps (B, C, H, W) and their images (B, 3, H, W) in [0, 1]."""


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels (B, H, W) as float (B, C, H, W); 255 as the zero vector."""
    classes = torch.arange(num_classes, device=labels.device)
    return (labels.unsqueeze(-1) == classes).permute(0, 3, 1, 2).float()  # channels last in memory


@record_function('semi/discriminators')
def discriminate(discriminator: nn.Module, prob: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, 1, R, R) and φ (B, D) of a D whose parameters get no gradient."""
    frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
    return functional_call(discriminator, frozen, (prob, images, False))


@record_function('semi/discriminators')
def adversarial_loss(discriminator: nn.Module, fake: MapsAndImages, real: MapsAndImages) -> Tensor:
    """L_D = ½[BCE(D(fake), 0) + BCE(D(real), 1)], scalar."""
    both = (torch.cat(maps) for maps in zip(fake, real, strict=True))
    of_fake, of_real = upcast(discriminator(*both)[0]).split([len(fake[0]), len(real[0])])
    zero, one = torch.zeros_like(of_fake), torch.ones_like(of_real)
    bce = F.binary_cross_entropy_with_logits
    return (bce(of_fake, zero) + bce(of_real, one)) / 2


@record_function('semi/discriminators')
def correctness_loss(
    discriminator: nn.Module, logits: Tensor, images: Tensor, labels: Tensor
) -> Tensor:
    """BCE of D to the share of right pixels, mean over the regions that have labeled pixels.

    Args:
        discriminator: D.
        logits: A network's (B, C, H, W) on labeled images, without a graph.
        images: In [0, 1], (B, 3, H, W).
        labels: (B, H, W); 255 is neither right nor wrong.
    """
    region_logits = upcast(discriminator(upcast(logits).softmax(1), images)[0])
    right, labeled = logits.argmax(1) == labels, labels != IGNORE
    share, count = region_share(right, labeled, region_logits.shape[2:])
    loss = F.binary_cross_entropy_with_logits(region_logits, share, reduction='none')
    counted = (count > 0).float()
    return (loss * counted).sum() / counted.sum().clamp(min=1)
