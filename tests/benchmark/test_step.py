"""Parts of a step, measured on tiny runs."""

from types import SimpleNamespace

import pytest
import runs
import tiny
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmseg_u2pl.benchmark.scenes import use_scenes
from mmseg_u2pl.benchmark.step import (
    PARTS,
    WAIT,
    StepBenchmark,
    StepResult,
    prepare,
    step_table,
)
from mmseg_u2pl.models.segmentors import u2pl


def benchmark(root, work_dir, **changes):
    """One step of warm-up, two blocks of two, one step for the memory."""
    cfg = runs.config(root, work_dir, **changes)
    prepare(cfg, str(work_dir / 'run'), iterations=6)
    bench = StepBenchmark(Runner.from_cfg(cfg), warmup=1, block=2)
    return bench, bench.run()


def test_every_part_of_a_step_is_there_and_adds_up(data_root, tmp_path):
    plain_loss = u2pl.consistency_loss
    bench, result = benchmark(data_root, tmp_path)
    assert set(result.parts) == set(PARTS)
    assert min(result.parts.values()) > 0
    assert len(bench.steps) == 5
    assert len(bench.networks) == 4
    assert len(bench._teacher_calls) == 2
    assert len(bench._student_calls) == 1
    assert result.images == 4
    # no part is counted twice: one alone is shorter than the step
    assert result.step > max(own for name, own in result.parts.items() if name != WAIT)
    # everything is as it was before
    assert u2pl.consistency_loss is plain_loss
    assert not {'_teach', 'decode', 'upsample'} & set(vars(bench.model))


def test_memory_by_owner(data_root, tmp_path):
    bench, result = benchmark(data_root, tmp_path)
    model = bench.model
    assert result.memory['bank'] == 3 * 64 * 8 * 2 + 2 * 3 * 8  # features, count and cursor
    student = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    assert result.memory['student'] > student  # with running statistics
    assert result.memory['optimizer'] == student  # momentum of SGD
    assert result.memory['teacher'] == pytest.approx(result.memory['student'], rel=0.05)
    assert bench.peak > student  # gradients at least


def test_one_pass_without_a_contrastive_loss(data_root, tmp_path):
    changes = {'model.contrastive': None, 'model.teacher_passes': 1}
    bench, result = benchmark(data_root, tmp_path, **changes)
    assert set(PARTS) - set(result.parts) == {'contrastive loss'}
    assert len(bench._teacher_calls) == 1
    assert result.memory['bank'] == 0


def test_figures_of_a_result():
    result = StepResult({WAIT: 20.0, 'rest': 80.0}, 80.0, 64.0, 8, {'student': 2**20})
    assert result.overhead == pytest.approx(1.25)
    assert result.images_per_second == pytest.approx(80)
    assert step_table(result, 'tiny').row_count == 8


def test_a_model_without_a_teacher_is_refused():
    runner = SimpleNamespace(model=nn.Linear(1, 1))
    with pytest.raises(TypeError, match='Linear is none'):
        StepBenchmark(runner, 1, 1)


def test_scenes_take_the_place_of_the_data(data_root, tmp_path):
    cfg = runs.config(data_root, tmp_path)
    pipeline = cfg.train_dataloader.dataset.unlabeled.pipeline
    with pytest.raises(ValueError, match='num_classes=3, but the generated scenes have 8'):
        use_scenes(cfg, tmp_path / 'scenes', 48, 64)
    cfg.model.decode_head.num_classes = 8
    use_scenes(cfg, tmp_path / 'scenes', 48, 64)
    bench, result = _measured(cfg, tmp_path)
    assert bench.runner.train_dataloader.dataset.lengths == (16, 32)
    assert cfg.train_dataloader.dataset.unlabeled.pipeline == pipeline
    assert result.images == 4


def _measured(cfg, work_dir):
    prepare(cfg, str(work_dir / 'run'), iterations=3)
    bench = StepBenchmark(Runner.from_cfg(cfg), warmup=1, block=1)
    return bench, bench.run()


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match='no train_dataloader'):
        prepare(Config(dict(model=tiny.u2pl_config())), 'run', 1)
