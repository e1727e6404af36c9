"""Parts of `scripts/count_costs.py`."""
