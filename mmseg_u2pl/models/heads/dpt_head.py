"""DPT on feature maps."""

from mmseg.models.decode_heads import DPTHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class DPTMapHead(DPTHead):
    """mmseg's ``DPTHead`` (Ranftl et al., ICCV 2021) on maps, for any backbone of one stride.

    ``DPTHead`` takes pairs of a map and a class token, and reads no token with
    ``readout_type='ignore'``, its default. Here levels are plain maps (B, C, h, w), which methods
    can stack, cut and drop channels of. Needs ``input_transform='multiple_select'``.
    """

    def _transform_inputs(self, inputs: list[Tensor]) -> list[tuple[Tensor, None]]:
        """Four maps → the pairs that ``DPTHead`` takes."""
        return [(level, None) for level in super()._transform_inputs(inputs)]
