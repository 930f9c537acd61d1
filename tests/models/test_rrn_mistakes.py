"""RRN: settings that it refuses."""

from types import SimpleNamespace

import cross
import pytest


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(target='both'), "target must be 'self' or 'cross', got 'both'"),
        (dict(vote='or'), "vote must be 'sum' or 'and', got 'or'"),
        (dict(discriminator_target='wgan'), "must be 'gan' or 'correctness', got 'wgan'"),
        (dict(threshold=-0.1), 'threshold must not be negative, got -0.1'),
        (dict(accepted_share=0.0), 'accepted_share must be between 0 and 1, got 0.0'),
        (dict(accepted_share=1), 'accepted_share must be between 0 and 1, got 1'),
        (dict(matching_weight=-1), 'matching_weight must not be negative, got -1'),
        (dict(selection_weight=-1), 'selection_weight must not be negative, got -1'),
        (dict(selftrain_warmup_iters=-1), 'selftrain_warmup_iters must not be negative, got -1'),
        (dict(discriminator=dict(head='patch')), "got 'patch'"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        cross.build('RRN', **settings)


def runner(model, max_iters=10):
    wrapper = SimpleNamespace(optimizer=SimpleNamespace(parts={'discriminators': None}))
    logger = SimpleNamespace(warnings=[])
    logger.warning = logger.warnings.append
    return SimpleNamespace(optim_wrapper=wrapper, max_iters=max_iters, logger=logger)


def test_crops_without_a_region_are_refused_before_training():
    data = dict(type='SegDataPreProcessor', size=(159, 200))
    model = cross.build('RRN', discriminator=dict(channels=2), data_preprocessor=data)
    with pytest.raises(ValueError, match='crops of 159×200 pixels are smaller than a region'):
        model.check(runner(model))


@pytest.mark.parametrize(('max_iters', 'warned'), [(5, True), (6, False)])
def test_a_training_that_ends_before_regions_teach_is_warned_of(max_iters, warned):
    model = cross.build('RRN', warmup_iters=2, selftrain_warmup_iters=3)
    run = runner(model, max_iters)
    model.check(run)
    assert [text.split(',')[0] for text in run.logger.warnings] == (
        ['warmup_iters + selftrain_warmup_iters = 5'] if warned else []
    )
