"""What the page says beside its fields, for people who do not know the method's words."""

INTRODUCTION = (
    "# AnaMoDiff\nYour character performs the motion of another clip, looking like itself. One "
    "character in each clip, whole in the picture."
)
PREVIEW = (
    "What is followed (skeletons or points), what is cut out of each clip (its matte, in white), "
    "and the source bent along the motion (warped). Run mends what is torn here."
)
FILES = (
    "webm with alpha: nothing behind the character. LoRA: what was learnt of it, for other "
    "programs with Stable Diffusion. report: what happened, and what could be better, as one page."
)
