"""Differences of methods over seeds and test images."""

import numpy as np
import pytest
from scipy import stats

from mmseg_u2pl.analysis.comparison import bootstrap, group_runs


def run(folder, stem, **settings):
    """The work dir of a training with these settings."""
    settings = dict(model=dict(type='A'), train_cfg=dict(max_iters=9), **settings)
    (folder / '1/vis_data').mkdir(parents=True)
    for path in (folder / f'{stem}.py', folder / '1/vis_data/config.py'):
        path.write_text(''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    return folder


def test_runs_of_one_config_are_seeds_and_the_baseline_comes_first(tmp_path):
    semi = dict(train_dataloader=dict(dataset=dict(unlabeled=dict(type='B')), num_workers=2))
    few = {**semi, 'train_dataloader': {**semi['train_dataloader'], 'num_workers': 0}}
    folders = [
        run(tmp_path / 'any', 'street', randomness=dict(seed=0), **semi),
        run(tmp_path / 'other', 'street', randomness=dict(seed=1), **few),
        run(tmp_path / 'base', 'street_supervised', work_dir='base'),
    ]
    named = group_runs(folders)
    assert list(named.items()) == [('street_supervised', folders[2:]), ('street', folders[:2])]


def test_of_one_network_methods_have_the_shorter_name(tmp_path):
    folders = [run(tmp_path / name, f'{name}_r50_city') for name in ('u2pl', 'supervised')]
    assert group_runs(folders) == {'u2pl': folders[:1], 'supervised': folders[1:]}
    assert list(group_runs(folders[:1])) == ['u2pl_r50_city']


def test_other_lists_and_settings_are_other_methods(tmp_path):
    rates = {
        name: dict(split=split, optim_wrapper=dict(optimizer=dict(lr=lr)))
        for name, split, lr in (('a', '1_8', 0.1), ('b', '1_8', 0.2), ('c', '1_16', 0.2))
    }
    folders = {name: run(tmp_path / name, 'street', **each) for name, each in rates.items()}
    assert group_runs(list(folders.values())) == {
        'street, split=1_8, lr=0.1': [folders['a']],
        'street, split=1_8, lr=0.2': [folders['b']],
        'street, split=1_16': [folders['c']],
    }
    with pytest.raises(FileNotFoundError, match='is not the work dir of a training'):
        group_runs([tmp_path])


def test_other_batches_schedules_and_hooks_are_other_methods(tmp_path):
    batches: list[dict] = [dict(train_dataloader=dict(batch_size=n, num_workers=n)) for n in (2, 4)]
    schedule: dict[str, list] = dict(param_scheduler=[dict(type='PolyLR', power=0.9)])
    ramps = [dict(type='LinearLR', end=5), *schedule['param_scheduler']]
    hooks = dict(custom_hooks=[dict(type='ClassWeightsHook')])
    each: list[dict] = [
        batches[0], batches[1], {**batches[1], **schedule},
        {**batches[1], 'param_scheduler': ramps}, {**batches[1], **schedule, **hooks},
    ]  # fmt: skip
    folders = [run(tmp_path / str(i), 'street', **settings) for i, settings in enumerate(each)]
    assert {name: found for name, (found,) in group_runs(folders).items()} == {
        'street, batch_size=2': folders[0],
        'street, batch_size=4': folders[1],
        'street, batch_size=4, type=PolyLR': folders[2],
        'street, batch_size=4, type=LinearLR': folders[3],
        'street, batch_size=4, type=PolyLR, type=ClassWeightsHook': folders[4],
    }


def test_methods_of_one_name_are_told_apart_by_a_folder(tmp_path):
    places = [dict(optim_wrapper={name: dict(lr=1)}) for name in 'ab']
    folders = [run(tmp_path / str(i), 'street', **each) for i, each in enumerate(places)]
    assert list(group_runs(folders)) == ['street, lr=1', 'street, lr=1 (1)']


def test_two_trainings_of_one_seed_are_refused_but_not_two_tests(tmp_path):
    folders = [run(tmp_path / name, 'street', randomness=dict(seed=1)) for name in 'ab']
    assert list(group_runs(folders).values()) == [folders]
    for folder in folders:
        (folder / '1/vis_data/scalars.json').touch()
    with pytest.raises(ValueError, match=r'street: .*a and .*b are both of seed 1'):
        group_runs(folders)


def test_one_training_is_not_two_seeds(tmp_path):
    used = ['/runs/a/iter_9.pth', '/runs/a/best_mIoU_iter_4.pth', '/runs/b/iter_9.pth']
    tests = [run(tmp_path / str(i), 'street', load_from=each) for i, each in enumerate(used)]
    names = 'best_s0', 'best_s1'  # files of their own
    weights = [run(tmp_path / name, 'street', load_from=f'/w/{name}.pth') for name in names]
    (found,) = group_runs([tests[0], tests[2], *weights]).values()
    assert len(found) == 4
    for twice in ([tests[0], tests[0]], tests[:2]):
        with pytest.raises(ValueError, match=r'are both of /runs/a: give one of them'):
            group_runs(twice)


def areas(seeds, images, classes, seed=0):
    """Random intersections and unions (S, N, 2, C) of two methods; the second is better."""
    rng = np.random.default_rng(seed)
    union = rng.integers(20, 200, (2, seeds, images, classes))
    share = rng.uniform(0.3, 0.7, union.shape) + np.array([0.0, 0.1])[:, None, None, None]
    return np.stack(((share * union).astype(int), union), axis=3)


def miou(counts, chosen):
    """MIoU of some images of (N, 2, C), as the metric computes it."""
    intersect, union = counts[chosen].sum(0)
    with np.errstate(invalid='ignore'):
        return np.nanmean(intersect / union)


def test_a_draw_is_the_mean_over_seeds_of_the_difference_on_the_same_images():
    base, other = areas(seeds=2, images=5, classes=3)
    base[..., 1] = other[..., 1] = 0  # a class that is nowhere
    draws = bootstrap(base, other, draws=7, seed=3)
    weights = np.random.default_rng(3).multinomial(5, [0.2] * 5, 7)
    assert draws.shape == (7, 4)
    for found, counts in zip(draws, weights, strict=True):
        images = np.repeat(np.arange(5), counts)
        expected = np.mean([miou(other[s], images) - miou(base[s], images) for s in (0, 1)])
        assert found[3] == pytest.approx(100 * expected)
        ious = [
            each[:, images].sum(1)[:, 0, 0] / each[:, images].sum(1)[:, 1, 0]
            for each in (base, other)
        ]
        assert found[0] == pytest.approx(100 * (ious[1] - ious[0]).mean())
        assert np.isnan(found[1])


def test_its_interval_is_that_of_scipy():
    base, other = areas(seeds=1, images=40, classes=2)[:, :1]

    def difference(chosen):
        return miou(other[0], chosen) - miou(base[0], chosen)

    expected = stats.bootstrap(
        (np.arange(40),), difference, n_resamples=4000, vectorized=False, method='percentile',
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    low, high = np.percentile(bootstrap(base, other, draws=4000)[:, -1], (2.5, 97.5))
    width = 100 * (expected.high - expected.low)
    assert low == pytest.approx(100 * expected.low, abs=0.05 * width)
    assert high == pytest.approx(100 * expected.high, abs=0.05 * width)
