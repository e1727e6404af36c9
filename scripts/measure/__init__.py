"""What `scripts/measure_lofnet.py` measures, one module a part."""
