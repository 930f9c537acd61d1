"""Score a label map region by region, as a whole, or pixel by pixel."""

from itertools import pairwise
from typing import Literal

import torch
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..settings import one_of

CELL = 10
"""Side of a region on the map of the fourth convolution: 160 pixels of the image."""


@MODELS.register_module()
class RegionDiscriminator(BaseModule):
    """Scores how much a label map looks like ground truth, in each region of a grid (RRN).

    Four 4×4 convolutions of stride 2 to 1, 2, 4 and 8 times ``channels``, with LeakyReLU 0.2 and
    channel dropout 0.5 after the first three, then a head; no normalization layers.

    ========  ==========================================  =======================================
    head      layers                                      logits
    ========  ==========================================  =======================================
    region    10×10 convolution of stride 10              a grid: 2×2 at 321 pixels, 3×3 at 512,
                                                          5×5 at 800; a cell has 160 pixels
    region    with ``grid=R``: average pooling to R×R,    R×R at any size
              1×1 convolution
    scalar    global average pooling, linear              1×1; the image is an input, too
    pixel     4×4 convolution of stride 2, bilinear up    H×W
    ========  ==========================================  =======================================

    Args:
        num_classes: C.
        head: ``'region'``, ``'scalar'`` or ``'pixel'``.
        grid: R; None: cells of 160 pixels, for crops of 160 pixels and more.
        channels: Of the first convolution; 64 as published.

    Raises:
        ValueError: A setting outside its range, or an input too small for the cells.
    """

    def __init__(
        self,
        num_classes: int,
        head: Literal['region', 'scalar', 'pixel'] = 'region',
        grid: int | None = None,
        channels: int = 64,
    ) -> None:
        super().__init__()
        one_of(('region', 'scalar', 'pixel'), head=head)
        if grid is not None and (head != 'region' or grid < 1):
            raise ValueError(
                f"grid={grid} with head={head!r}: only head='region' has a grid, of 1 or more "
                'regions a side'
            )
        self.head = head
        self.pool = 1 if head == 'scalar' else grid
        inputs = num_classes + (3 if head == 'scalar' else 0)
        widths = (inputs, *(factor * channels for factor in (1, 2, 4, 8)))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.relu = nn.LeakyReLU(0.2)
        side = CELL if self.pool is None else 1
        side, stride, padding = (4, 2, 1) if head == 'pixel' else (side, side, 0)
        self.classifier = nn.Conv2d(widths[-1], 1, side, stride, padding)

    def check(self, height: int, width: int) -> None:
        """Raise ValueError if a crop is too small for a region."""
        if self.head == 'region' and self.pool is None and min(height, width) < 16 * CELL:
            raise ValueError(
                f'crops of {height}×{width} pixels are smaller than a region of '
                f'{16 * CELL}×{16 * CELL}: set grid=3 (model.discriminator.grid of RRN) for 3×3 '
                'regions at any size'
            )

    def forward(self, prob: Tensor, images: Tensor, dropout: bool = True) -> tuple[Tensor, Tensor]:
        """Score label maps.

        Args:
            prob: Class probabilities or one-hot labels (B, C, H, W), floating.
            images: Their images (B, 3, H, W), in [0, 1]; only ``head='scalar'`` uses them.
            dropout: Whether channels are dropped in training mode; never in eval mode.

        Returns:
            Logits (B, 1, R, R) of "true", and φ (B, 8·``channels``), the mean of the last feature map.
        """
        x = torch.cat((prob, images), dim=1) if self.head == 'scalar' else prob
        for index, conv in enumerate(self.convs):
            x = self.relu(conv(x))
            if index < len(self.convs) - 1:
                x = nn.functional.dropout2d(x, 0.5, training=self.training and dropout)
        height, width = prob.shape[2:]
        feature = x.mean((2, 3))
        if self.pool is not None:
            x = nn.functional.adaptive_avg_pool2d(x, self.pool)
        else:
            self.check(height, width)
        logits = self.classifier(x)
        if self.head == 'pixel':
            logits = resize(logits, (height, width), mode='bilinear', align_corners=False)
        return logits, feature
