"""What is looked at after and beside training: pseudo-labels, pictures, tables, benchmarks."""
