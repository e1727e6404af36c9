"""Parts of `measure_speed.py`."""
