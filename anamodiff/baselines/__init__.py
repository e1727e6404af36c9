"""Rival methods that a benchmark runs beside ours: TPS Motion and first-order-model.

They move pixels, not latents, and nothing of the method uses them. Their parts' names are those
of the published checkpoints, which load strictly.
"""
