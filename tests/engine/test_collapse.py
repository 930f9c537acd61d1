"""Each sign of collapse in sequences made by hand; a healthy sequence stays silent."""

import numpy as np
import pytest

from mmseg_u2pl.engine.collapse import CollapseAlarm, Labeled

CLASSES = ('background', 'cat', 'dog')
COUNTS = np.array([700, 200, 100])
SHARE, KEPT = (0.72, 0.18, 0.10), (0.60, 0.12, 0.05)


def seen(share=SHARE, kept=KEPT, entropy=0.1):
    return Labeled(np.array(share), np.array(kept), entropy)


def warned(sequence, metrics=({},), banks=(None,), name='teacher'):
    """The texts of each validation, at iterations 100, 200, ..."""
    alarm = CollapseAlarm(CLASSES, COUNTS)
    return [
        alarm.update(
            100 * (index + 1),
            {name: one},
            metrics[index % len(metrics)],
            banks[index % len(banks)],
        )
        for index, one in enumerate(sequence)
    ]


def scores(*behind):
    """Metrics of validations at which the teacher is so many points behind."""
    return [{'teacher/mIoU': 60.0 - points, 'student/mIoU': 60.0} for points in behind]


def test_a_healthy_run_is_silent():
    """Shares go up and down, rare classes are late, the teacher is a little behind at times."""
    sequence = [
        seen((0.90, 0.09, 0.01), (0.5, 0.02, 0.0), 0.4),
        seen((0.80, 0.15, 0.05), (0.6, 0.10, 0.01), 0.2),
        seen((0.60, 0.30, 0.10), (0.5, 0.20, 0.08), 0.12),
        seen((0.75, 0.23, 0.02), (0.6, 0.15, 0.01), 0.08),
        seen((0.76, 0.18, 0.06), (0.7, 0.15, 0.05), 0.03),
        seen((0.78, 0.15, 0.07), (0.7, 0.13, 0.06), 0.01),
    ]
    metrics = scores(0.0, -1.5, 1.4, 2.5, 2.5, 0.5)
    banks = [np.array([0, 5, 9]), *[np.array([7, 9, 9])] * 5]
    assert warned(sequence, metrics, banks) == [[]] * 6


def test_a_class_that_vanishes_is_named_once_with_its_first_iteration():
    gone = seen(kept=(0.60, 0.12, 0.0005))  # 2 % of 0.05 is 0.001
    found = warned([seen(), gone, gone, gone])
    assert [len(texts) for texts in found] == [0, 0, 1, 0]
    (text,) = found[2]
    assert text.startswith(
        'teacher: pseudo-labels of dog vanish: kept on 0.05% of the pixels, once'
    )
    assert 'once on 5.0%' in text
    assert 'ClassAlignment' in text
    assert text.endswith('(since iteration 200)')


@pytest.mark.parametrize(
    'sequence',
    [
        [seen(), seen(kept=(0.6, 0.12, 0.0012)), seen(kept=(0.6, 0.12, 0.0012))],  # still 2.4 %
        [seen(kept=(0.6, 0.12, 0.0009)), *[seen(kept=(0.6, 0.12, 0.0))] * 3],  # always rare
        [seen(kept=(0.3, 0.1, 0.5)), *[seen(kept=(0.6, 0.1, 0.003))] * 3],  # 3 % of its labels
        [seen(), seen(kept=(0.6, 0.12, 0.0)), seen(), seen(kept=(0.6, 0.12, 0.0))],  # it came back
    ],
)
def test_few_pixels_are_no_vanished_class(sequence):
    assert not any(warned(sequence))


def test_a_class_that_is_never_labeled_nor_predicted_right():
    """Three validations in a row; without a pseudo-label it may still be learned."""
    without = seen(kept=(0.6, 0.12, 0.0))
    zero, learned, elsewhere = ({'teacher/IoU.dog': value} for value in (0.0, 0.1, float('nan')))
    found = warned([without] * 4, [zero])
    assert [len(texts) for texts in found] == [0, 0, 1, 0]
    assert found[2][0].startswith('teacher: no pseudo-labels of dog, whose IoU on the validation')
    assert not any(warned([without] * 4, [learned]))
    assert not any(warned([without] * 4, [elsewhere]))
    assert not any(warned([seen()] * 4, [zero]))


def test_a_class_without_labels_may_vanish():
    alarm = CollapseAlarm(CLASSES, np.array([800, 200, 0]))
    for iteration in range(4):
        kept = (0.6, 0.12, 0.1 if iteration == 0 else 0.0)
        assert not alarm.update(iteration, dict(teacher=seen(kept=kept)), {}, None)


def test_a_class_that_takes_over():
    """The labels leave 30 % to other classes; a tenth of it is 3 %."""
    over, nearly = seen((0.971, 0.02, 0.009)), seen((0.969, 0.02, 0.011))
    assert not any(warned([seen(), nearly, nearly, nearly]))
    found = warned([seen(), over, over])
    (text,) = found[2]
    assert text.startswith(
        'teacher: 97.1% of the pseudo-labels are background, of the labels 70.0%'
    )
    assert 'model.warmup_iters' in text
    assert text.endswith('(since iteration 200)')


@pytest.mark.parametrize(
    ('entropy', 'says'), [(5e-4, 'fell to 5.0e-04 of ln C'), (0.95, 'is 0.95 of ln C')]
)
def test_entropy_that_says_nothing(entropy, says):
    found = warned([seen(entropy=0.1), seen(entropy=entropy), seen(entropy=entropy)], name='net')
    (text,) = found[2]
    assert text.startswith(f'net: the mean entropy {says}')


def test_a_teacher_that_stays_behind_needs_three_validations():
    found = warned([seen()] * 5, scores(0.0, 3.0, 2.1, 4.0, 5.0))
    assert [len(texts) for texts in found] == [0, 0, 0, 1, 0]
    (text,) = found[3]
    assert text.startswith('the teacher is 4.0 points of mIoU behind the student')
    assert text.endswith('(since iteration 200)')
    assert not any(warned([seen()] * 4, [{'student/mIoU': 60.0}]))  # no teacher


def test_an_empty_bank_and_one_without_a_class():
    (text,) = warned([seen()] * 2, banks=[np.zeros(3)])[1]
    assert text.startswith('the memory bank is empty: the contrastive loss skips')
    (text,) = warned([seen()] * 2, banks=[np.array([4, 0, 2])])[1]
    assert text.startswith('the memory bank has no keys of cat: ')
    assert not any(warned([seen()] * 3, banks=[np.array([4, 1, 2])]))


def test_a_sign_that_comes_back_is_reported_again():
    over = seen((0.98, 0.01, 0.01))
    found = warned([over, over, seen(), over, over])
    assert [len(texts) for texts in found] == [0, 1, 0, 0, 1]
    assert found[4][0].endswith('(since iteration 400)')
