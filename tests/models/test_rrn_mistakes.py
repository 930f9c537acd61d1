"""RRN: settings that it refuses."""

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
