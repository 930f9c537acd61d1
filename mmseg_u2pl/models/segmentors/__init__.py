"""Semi-supervised segmentors: one file a method."""
