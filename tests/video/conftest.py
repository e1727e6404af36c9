"""Lets the tests here import `video_samples`, which makes their files."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
