"""`python -m anamodiff` is the command `anamodiff`."""

import sys

from anamodiff.cli import main

sys.exit(main())
