"""Training of the benchmark's rivals: clips, features, losses, loop."""
