"""A run on a Hugging Face backbone: trained, resumed, and predicted from without its weights."""

import shutil

import pytest
import runs
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from runs import differing, load

transformers = pytest.importorskip('transformers')

VIT = dict(
    model_type='dinov2', image_size=56, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    drop_path_rate=0.3,  # draws random numbers in every step
)  # fmt: skip


def model(folder):
    head = dict(
        type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1, concat_input=False,
        num_classes=3,
    )  # fmt: skip
    return {
        'model.backbone': dict(
            _delete_=True, type='HFBackbone', name=str(folder), config=VIT, out_indices=(1, 2)
        ),
        'model.decode_head': dict(_delete_=True, **head),
    }


def test_train_resume_and_predict(data_root, tmp_path):
    folder, whole, half = (tmp_path / name for name in ('weights', 'whole', 'half'))
    torch.manual_seed(3)
    pretrained = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**VIT))
    pretrained.save_pretrained(folder)

    runs.runner(data_root, whole, **model(folder)).train()
    runs.runner(
        data_root, half, **model(folder), load_from=str(whole / 'iter_3.pth'), resume=True
    ).train()
    one, other = (load(path / 'iter_6.pth')['state_dict'] for path in (whole, half))
    assert differing(one, other) == []
    middle = load(whole / 'iter_3.pth')['state_dict']
    name = 'embeddings.patch_embeddings.projection.weight'
    start = pretrained.state_dict()[name]
    change = (middle[f'backbone.model.{name}'] - start).abs().mean()
    assert 0 < change < 0.5 * start.std()  # it started from the weights
    for network in ('backbone', 'teacher.backbone'):
        assert not torch.equal(one[f'{network}.model.{name}'], middle[f'{network}.model.{name}'])

    shutil.rmtree(folder)
    config = Config.fromfile(whole / 'tiny.py')
    network = init_model(config, str(whole / 'iter_6.pth'), device='cpu')
    image = next((data_root / 'images/val').iterdir())
    assert inference_model(network, str(image)).seg_logits.data.isfinite().all()
    weight = network.teacher.backbone.model.get_parameter(name)
    assert torch.equal(weight, one[f'teacher.backbone.model.{name}'])
