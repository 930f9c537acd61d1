"""Two processes with plain BatchNorm: a resumed run equals the uninterrupted one bit for bit."""

import pytest
import runs
import tiny
import torch
from processes import assert_same

from mmseg_u2pl.cli import build_runner
from mmseg_u2pl.engine import checkpoints


def train(rank, cfg, shared=True):
    """The weights of a process at the end, and whether all scored the same statistics."""
    scored = []
    with pytest.MonkeyPatch.context() as patch:
        if not shared:
            patch.setattr(checkpoints, 'share_statistics', lambda _: None)
        runner = build_runner(cfg)
        loop = runner.val_loop
        run = loop.run

        def watched():
            run()
            state = {k: v for k, v in runner.model.module.state_dict().items() if 'running' in k}
            scored.append(state)

        loop.run = watched
        runner.train()
    if shared:
        for state in scored:
            assert_same(state)
    assert len(scored) == cfg.train_cfg.max_iters // 2 - (2 if cfg.resume else 0) // 2
    return runner.model.module.state_dict()


def config(root, folder, **changes):
    preprocessor = runs.settings(root, 4)['model']['data_preprocessor']
    model = tiny.semi_config(
        'FixMatch', data_preprocessor=preprocessor, warmup_iters=1, teacher=dict(norm='ema')
    )
    settings = {
        'model': dict(_delete_=True, **model),
        'launcher': 'pytorch',
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.checkpoint.save_best': None,
        'train_cfg.val_interval': 2,
    }
    return runs.config(root, folder, 4, **{**settings, **changes})


@pytest.mark.parametrize('shared', [True, False], ids=['as it is', 'without sharing'])
def test_a_resumed_run_of_two_processes_equals_the_uninterrupted_one(
    shared, data_root, tmp_path, together
):
    whole = together(2, train, config(data_root, tmp_path / 'whole'), shared)
    resume = dict(load_from=str(tmp_path / 'whole' / 'iter_2.pth'), resume=True)
    resumed = together(2, train, config(data_root, tmp_path / 'resumed', **resume), shared)
    differing = {
        name
        for one, other in zip(whole, resumed, strict=True)
        for name, value in one.items()
        if not torch.equal(value, other[name])
    }
    if shared:
        assert differing == set()
    else:  # what this test is for
        assert 'backbone.bn1.running_mean' in differing
