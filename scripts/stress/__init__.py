"""Bad days on purpose: files that are broken at random, and processes that are killed."""
