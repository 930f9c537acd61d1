"""Networks that score label maps."""
