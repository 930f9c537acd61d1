"""What the watch of pseudo-labels logs and draws, and that training does not notice it."""

import json

import cross
import cv2
import numpy as np
import pytest
import runs
import torch
from conftest import NAMES
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import BaseVisBackend
from mmseg.registry import VISBACKENDS

from mmseg_u2pl.engine import collapse
from mmseg_u2pl.engine.watch import calibration
from mmseg_u2pl.functional import entropy_map
from mmseg_u2pl.models import SemiSegmentor


def train(root, folder, watch, **changes):
    changes = {'default_hooks.watch': watch, 'default_hooks.checkpoint.save_best': None, **changes}
    cfg = runs.config(root, folder, 6, **changes)
    if watch is None:
        cfg.default_hooks.pop('watch')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def scalars(folder):
    """All that was logged at the last validation."""
    (path,) = folder.glob('*/vis_data/scalars.json')
    found = {}
    for line in path.read_text().splitlines():
        found.update(json.loads(line))
    return found


def test_training_is_the_same_bit_by_bit_with_and_without_watch_and_masks(masked_root, tmp_path):
    watches = dict(
        off=None,
        on=dict(type='WatchHook'),
        truth=dict(type='WatchHook', draw=2, masks='truth'),
    )
    states = {}
    for name, watch in watches.items():
        train(masked_root, tmp_path / name, watch)
        states[name] = [
            torch.load(tmp_path / name / f'iter_{i}.pth', weights_only=False)['state_dict']
            for i in (3, 6)
        ]
    assert 'watch/teacher/kept_accuracy' in scalars(tmp_path / 'truth')
    assert 'watch/teacher/kept_accuracy' not in scalars(tmp_path / 'on')
    assert not any(key.startswith('watch') for key in scalars(tmp_path / 'off'))
    for name in ('on', 'truth'):
        for one, other in zip(states['off'], states[name], strict=True):
            assert list(one) == list(other)
            assert all(torch.equal(one[key], other[key]) for key in one)


def test_numbers_are_those_of_the_pseudo_labels(masked_root, tmp_path):
    runner = train(masked_root, tmp_path, dict(type='WatchHook', masks='truth'))
    found, model = scalars(tmp_path), runner.model.eval()
    inputs, masks = [], []
    for name in NAMES['unlabeled']:
        image = np.asarray(cv2.imread(str(masked_root / 'images/train' / f'{name}.png')))
        inputs.append(torch.from_numpy(image).permute(2, 0, 1))
        masks.append(np.asarray(cv2.imread(str(masked_root / 'truth' / f'{name}.png'), 0)))
    truth = torch.from_numpy(np.stack(masks))
    model.before_iter(5, 6)  # the last iteration
    names = ('entropy', 'agreement', 'right', 'truth', 'both', 'kept_truth')
    sums = dict.fromkeys(names, 0.0)
    counts = np.zeros((2, 3))
    for pair in range(0, 6, 2):  # as many as a step selects among
        batch = model.data_preprocessor(dict(inputs=inputs[pair : pair + 2]))['inputs']
        label, keep, prob = model.pseudo_labels(batch, torch.ones_like(batch[:, 0]) > 0)['teacher']
        with torch.no_grad():
            features = model.extract_feat(batch)
            student = model.upsample(model.decode_head(features), batch.shape[2:]).argmax(1)
        for index in range(len(batch)):
            for row in range(40):
                for column in range(48):
                    place = index, row, column
                    counts[0, label[place]] += 1
                    counts[1, label[place]] += keep[place].item()
                    true = truth[pair + index, row, column]
                    right = (true == label[place]).item()
                    sums['right'] += right
                    sums['both'] += right and keep[place].item()
                    sums['truth'] += (true != 255).item()
                    sums['kept_truth'] += (true != 255).item() and keep[place].item()
        sums['entropy'] += entropy_map(prob).sum().item() / np.log(3)
        sums['agreement'] += (student == prob.argmax(1)).sum().item()
    pixels = 6 * 40 * 48
    expected = dict(
        kept=counts[1].sum() / pixels,
        entropy=sums['entropy'] / pixels,
        agreement=sums['agreement'] / pixels,
        accuracy=sums['right'] / sums['truth'],
        kept_accuracy=sums['both'] / sums['kept_truth'],
    )
    for name, value in expected.items():
        assert found[f'watch/teacher/{name}'] == pytest.approx(value, rel=1e-5), name
    for part, shares in (('labels', counts[0]), ('kept', counts[1])):
        for name, share in zip(('red', 'green', 'blue'), shares / shares.sum(), strict=True):
            assert found[f'watch/teacher/{part}/{name}'] == pytest.approx(share)
    assert 0 <= found['watch/ECE'] <= 1


def test_logits_that_are_not_finite_are_not_calibrated():
    """The training goes on, and its own guard says what is wrong."""
    logits = torch.randn(3, 2, 4)
    truth = torch.tensor([[0, 1, 2, 255], [0, 1, 2, 2]])
    expected = calibration(logits, truth.clone().index_fill_(1, torch.tensor([1]), 255))
    logits[0, 0, 1], logits[2, 1, 1] = torch.nan, torch.inf
    assert torch.equal(calibration(logits, truth), expected)


def test_calibration_by_hand():
    """Bins of 1/15: 0.9 is in that from 13/15, 0.6 in that from 9/15; 255 does not count."""
    prob = torch.tensor([[0.9, 0.9, 0.6, 0.99], [0.1, 0.1, 0.4, 0.01]], dtype=torch.float64)
    sums = calibration(prob.log().view(2, 1, 4), torch.tensor([[0, 1, 1, 255]]))
    assert sums[1].tolist() == [0.0] * 9 + [1.0] + [0.0] * 3 + [2.0, 0.0]
    assert sums[0, 9] == pytest.approx(0.6)
    assert sums[0, 13] == pytest.approx(0.9 - 1 + 0.9)


@VISBACKENDS.register_module()
class Remember(BaseVisBackend):
    """In the place of TensorBoard, W&B and MLflow."""

    images: list = []

    def _init_env(self):
        pass

    def experiment(self):
        return self

    def add_image(self, name, image, step=0, **_):
        self.images.append((name, step, image.shape, image.dtype))


def test_pictures_reach_every_backend(masked_root, tmp_path):
    Remember.images.clear()
    backends = [dict(type='LocalVisBackend'), dict(type='Remember', save_dir=str(tmp_path))]
    watch = dict(type='WatchHook', draw=3, masks='truth')
    train(masked_root, tmp_path / 'run', watch, **{'visualizer.vis_backends': backends})
    assert [image[:2] for image in Remember.images] == [('pseudo_labels', 3), ('pseudo_labels', 6)]
    paths = sorted((tmp_path / 'run').glob('*/vis_data/vis_image/*'))
    assert [path.name for path in paths] == ['pseudo_labels_3.png', 'pseudo_labels_6.png']
    picture = np.asarray(cv2.imread(str(paths[0])))
    assert (picture.shape, picture.dtype) == Remember.images[0][2:]


def test_missing_masks_stop_the_run_before_training(masked_root, tmp_path):
    (masked_root / 'truth' / 'u3.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'masks truth.*u3\.png'):
        train(masked_root, tmp_path, dict(type='WatchHook', masks='truth'))


def test_two_networks_are_watched_and_signs_are_logged(own_root, tmp_path, monkeypatch):
    monkeypatch.setattr(collapse, 'UNSURE', 0.0)  # every network is
    monkeypatch.setattr(collapse, 'PATIENCE', 1)
    runner = cross.runner(own_root, tmp_path, 'CrossPseudo')
    records = []
    runner.logger.addFilter(lambda record: not records.append(record.getMessage()))  # type: ignore[func-returns-value]
    runner.train()
    found = scalars(tmp_path)
    assert found['watch/network1/agreement'] == found['watch/network2/agreement']
    assert found['watch/network1/entropy'] != found['watch/network2/entropy']
    for name in ('network1', 'network2'):
        (text,) = [text for text in records if text.startswith(f'{name}: the mean entropy')]
        assert 'docs/faq.md' in text


def test_a_method_that_shows_no_pseudo_labels_trains(own_root, tmp_path, monkeypatch):
    monkeypatch.setattr('mmseg_u2pl.models.U2PL.pseudo_labels', SemiSegmentor.pseudo_labels)
    runner = train(own_root, tmp_path, dict(type='WatchHook'))
    assert runner.iter == 6
    assert 'watch/ECE' in scalars(tmp_path)


def test_no_failure_of_watching_ends_the_training(own_root, tmp_path, monkeypatch):
    def fail(model, samples):
        raise ValueError('crops are smaller than a region')

    monkeypatch.setattr('mmseg_u2pl.models.U2PL.label_samples', fail)
    runner = train(own_root, tmp_path, dict(type='WatchHook'))
    assert runner.iter == runner.max_iters
    log = runs.log_of(tmp_path)
    assert log.count('pseudo-labels are not watched: ValueError: crops are smaller') == 1
