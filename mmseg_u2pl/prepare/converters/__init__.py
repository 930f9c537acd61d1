"""From the original downloads of VOC 2012, SBD and Cityscapes to what the configs read."""
