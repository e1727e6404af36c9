"""docs/settings.md: every setting is there, and as it is declared."""

from pathlib import Path

from anamodiff.cli.reference import reference
from anamodiff.cli.settings import all_settings

FILE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_file_is_up_to_date() -> None:
    written = FILE.read_text(encoding="utf-8")
    assert written == reference(), "python -m anamodiff.cli.reference > docs/settings.md"


def test_every_setting_has_a_row_and_says_what_it_does() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    assert {row[0].removeprefix("| ").strip("`") for row in rows} == set(all_settings())
    for row in rows:
        setting, flag, value, default, text = row  # no cell holds a column's mark
        assert value and default and text.removesuffix(" |").strip()
        key = setting.removeprefix("| ").strip("`")
        assert flag.strip("`").split(" ")[0] == (all_settings()[key].flag or "")


def test_it_is_plain_text() -> None:
    assert reference().isascii()  # redirected into a file on Windows, other text changes
