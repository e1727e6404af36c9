"""`python -m anamodiff` is the command `anamodiff`."""

import sys

from anamodiff.cli.main import main

sys.exit(main())
