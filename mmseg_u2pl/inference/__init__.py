"""From a checkpoint to masks: the model as data, the images of a command line, predictions, files."""
