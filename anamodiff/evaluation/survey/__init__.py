"""The survey: a page on which people rank results, and the statistics of their answers."""
