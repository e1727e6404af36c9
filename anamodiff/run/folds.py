"""How much of a flow may be folded over before it shows."""

# Shares of the flow's cells. 18 drawn pairs that begin alike stayed below 0.045, but for a letter
# that gallops, 0.052.
LITTLE = 0.03
FOLDED = 0.05


def fold_verdict(share: float) -> str:
    """What a share of folded cells means for the result, in words; folded parts are mirrored."""
    if share < LITTLE:
        return "little, as it should be"
    if share <= FOLDED:
        return "some: look at the limbs of the warped clip; small tears are mended in tuning"
    return "much: parts may be torn or mirrored"
