"""A line for each of what makes a transfer fail, and none where nothing does."""

import torch

from anamodiff.matting.checks import box_of, is_small, remarks


def masks(*boxes: tuple[int, int, int, int], frames: int = 4) -> torch.Tensor:
    """Masks of 100 pixels with boxes (top, left, height, width)."""
    found = torch.zeros(frames, 100, 100, dtype=torch.bool)
    for top, left, height, width in boxes:
        found[:, top : top + height, left : left + width] = True
    return found


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


def test_nothing_is_said_of_a_good_clip() -> None:
    assert remarks(masks((30, 30, 40, 50)), "source") == []
    assert remarks(masks((60, 30, 40, 50)), "source") == []  # it stands on the lower edge
    # A raised arm, apart from the trunk, is no other character.
    assert remarks(masks((30, 30, 40, 50), (10, 30, 10, 10)), "source") == []


def test_nothing_to_move() -> None:
    assert "nothing to move" in only(remarks(masks(), "driving clip"))


def test_leaving_the_frame_and_entering_it() -> None:
    gone = masks((30, 30, 40, 50))
    gone[2:] = False
    assert "leaves or enters" in only(remarks(gone, "driving clip"))
    enters = torch.cat([masks((30, 80, 40, 20), frames=1), masks((30, 50, 40, 40), frames=3)])
    assert "leaves or enters" in only(remarks(enters, "driving clip"))


def test_two_characters() -> None:
    assert "two characters" in only(remarks(masks((30, 5, 40, 30), (30, 60, 40, 30)), "source"))


def test_a_full_frame() -> None:
    assert "fills the frame" in only(remarks(masks((5, 5, 95, 95)), "source"))


def test_a_small_subject_is_told_by_the_box_around_all_frames() -> None:
    small = masks((30, 30, 20, 20))
    assert is_small(small) and box_of(small) == (30, 30, 20, 20)
    small[1, 60:80, 60:80] = True
    assert not is_small(small) and box_of(small) == (30, 30, 50, 50)
    assert not is_small(masks())
