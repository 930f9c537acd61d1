"""mmseg's metric, with the value of each class and the counts of each image."""

import math

import torch
from mmseg.registry import METRICS


def score(prediction, truth, classes=('red', 'green', 'blue')):
    metric = METRICS.build(dict(type='ClassIoUMetric', iou_metrics=['mIoU']))
    metric.dataset_meta = dict(classes=classes)
    sample = dict(
        pred_sem_seg=dict(data=torch.tensor([prediction])),
        gt_sem_seg=dict(data=torch.tensor([truth])),
    )
    metric.process({}, [sample])
    return metric.evaluate(1)


def test_classes_by_hand():
    metrics = score([[0, 0, 1, 1]], [[0, 1, 1, 255]])
    # red: intersection 1, union 2; green: the last pixel is ignored, so 1 of 2; blue: nowhere
    assert metrics['IoU.red'] == 50
    assert metrics['IoU.green'] == 50
    assert math.isnan(metrics['IoU.blue'])
    assert metrics['mIoU'] == 50


def test_areas_above_what_float32_counts_are_exact():
    """4097×4097 pixels of red, all but one right: float32 counts end at 2^24."""
    label = torch.zeros(4097, 4097, dtype=torch.uint8)
    prediction = label.clone()
    prediction[0, 0] = 1
    metric = METRICS.get('ClassIoUMetric')
    areas = metric.intersect_and_union(prediction, label, num_classes=2, ignore_index=255)
    pixels = 4097**2
    expected = [[pixels - 1, 0], [pixels, 1], [pixels - 1, 1], [pixels, 0]]
    assert [area.tolist() for area in areas] == expected


def test_a_class_that_is_only_predicted_or_only_true_scores_zero():
    metrics = score([[0, 2, 0]], [[0, 0, 1]])
    # red: 1 of 3 pixels; mean over all three: 33.33 / 3
    assert metrics['IoU.red'] == 33.33
    assert metrics['IoU.green'] == metrics['IoU.blue'] == 0
    assert round(float(metrics['mIoU']), 2) == 11.11


def test_counts_of_each_image():
    metric = METRICS.build(dict(type='ClassIoUMetric', iou_metrics=['mIoU']))
    metric.dataset_meta = dict(classes=('red', 'green'))
    for path, prediction, truth in (('a', [0, 0, 1], [0, 1, 1]), ('b', [1, 1, 1], [0, 255, 1])):
        sample = dict(
            img_path=path,
            pred_sem_seg=dict(data=torch.tensor([[prediction]])),
            gt_sem_seg=dict(data=torch.tensor([[truth]])),
        )
        metric.process({}, [sample])
    metrics = metric.evaluate(2)
    found = {key: value.tolist() for key, value in metric.per_image.items()}
    assert found == dict(paths=['a', 'b'], intersect=[[1, 1], [0, 1]], union=[[2, 2], [1, 2]])
    assert metrics['IoU.red'] == 33.33  # 1 of 3
