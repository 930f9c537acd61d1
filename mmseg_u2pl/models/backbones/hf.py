"""Backbones of Hugging Face's ``transformers``, such as DINOv2 and DINOv3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

UNUSED = ('mask_token', 'swin.layernorm')
"""Parameters without influence on feature maps, which DDP would wait for."""


@MODELS.register_module()
class HFBackbone(BaseModule):
    """A backbone of ``transformers``, with the class that ``AutoBackbone`` chooses.

    A ViT has no map of an image whose sides are not multiples of its patch: such an image is resized
    to the nearest multiples, as UniMatch V2 (Yang et al., TPAMI 2025) does it.

    Args:
        name: Repository on the Hugging Face Hub, or a folder that ``save_pretrained`` wrote.
        pretrained: Load the weights of ``name`` when training starts.
        out_indices: Which maps to return, ascending: 0 is the stem, i the i-th layer of a ViT or the
            i-th stage of another network. DDP needs the last one: state fewer layers in ``config``
            to cut a network.
        config: The architecture, ``dict(model_type='dinov2', hidden_size=384, ...)``: building the
            network then needs no download. None: that of ``name``.
        frozen: Train no parameter of the backbone.
        with_cp: Gradient checkpointing: less memory, slower steps.

    Raises:
        ImportError: ``transformers`` is missing.
        OSError: ``name`` cannot be found or downloaded.
        ValueError: Neither ``name`` nor ``config``; an index that does not exist; weights of
            another architecture than ``config``.
    """

    def __init__(
        self,
        name: str = '',
        pretrained: bool = True,
        out_indices: Sequence[int] = (-1,),
        config: dict[str, Any] | None = None,
        frozen: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        try:
            from transformers import AutoBackbone, AutoConfig
        except ImportError as error:
            raise ImportError(
                "HFBackbone needs transformers: pip install 'mmseg-u2pl[hf]'"
            ) from error
        if not name and (pretrained or config is None):
            raise ValueError('HFBackbone needs a name, or a config and pretrained=False')
        self.name, self.pretrained, self.frozen = name, pretrained, frozen
        settings = self._from_hub(AutoConfig) if config is None else AutoConfig.for_model(**config)
        settings.out_indices = list(out_indices)
        self.model = AutoBackbone.from_config(settings, dtype=torch.float32)
        patch = getattr(settings, 'patch_size', 1)
        self.patch = patch if isinstance(patch, int) else 1  # Hiera's patches overlap
        for parameter_name, parameter in self.model.named_parameters():
            if frozen or any(part in parameter_name for part in UNUSED):
                parameter.requires_grad_(False)
        if with_cp:
            self.model.gradient_checkpointing_enable(dict(use_reentrant=False))

    def _from_hub(self, kind: Any, **settings: Any) -> Any:
        """``kind.from_pretrained`` of the name, with one message for all that may go wrong."""
        try:
            return kind.from_pretrained(self.name, **settings)
        except (OSError, ValueError) as error:
            raise OSError(
                f'HFBackbone: {self.name!r} cannot be loaded. Check the name and the connection, or '
                f'download it elsewhere (hf download {self.name}) and give the folder: {error}'
            ) from error

    def init_weights(self) -> None:
        """Load the weights of ``name``; without ``pretrained`` they stay random."""
        if not self.pretrained:
            return
        # not AutoBackbone, which asks the Hub even for a folder
        loaded, report = self._from_hub(
            type(self.model),
            config=self.model.config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below
        )
        # a classifier's weights lack the norms that its backbone puts on maps
        missing = [key for key in report['missing_keys'] if 'norm' not in key]
        missing += [key for key, *_ in report['mismatched_keys']]
        if missing:
            raise ValueError(
                f'{self.name!r} has no weights for {len(missing)} parameters of backbone.config, '
                f'such as {min(missing)}: it is another architecture'
            )
        self.model.load_state_dict(loaded.state_dict())
        print_log(f'HFBackbone: weights of {self.name}', logger='current')

    def train(self, mode: bool = True) -> HFBackbone:
        """A frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) → maps (B, C, h, w), in the order of ``out_indices``."""
        half, patch = self.patch // 2, self.patch
        size = [max(patch, (side + half) // patch * patch) for side in inputs.shape[2:]]
        if size != list(inputs.shape[2:]):
            inputs = F.interpolate(inputs, size, mode='bilinear', align_corners=False)
        return tuple(self.model(inputs).feature_maps)
