"""What methods are made of. Each part is registered, and serves every method by config."""
