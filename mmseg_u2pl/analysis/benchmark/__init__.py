"""What ``tools/benchmark.py`` measures: loading, a training step, the loss."""
