"""Metrics; importing this registers them with mmseg."""

from .class_iou import ClassIoUMetric
