"""The page as a Hugging Face Space; `anamodiff app` is the same page on one's own machine."""

from anamodiff.app.options import AppOptions
from anamodiff.app.server import Server

# A Space's machine is shared by all its visitors: smaller uploads, sooner deleted.
OPTIONS = AppOptions(max_mb=50, max_frames=1000, max_megapixels=25, queue=16, keep_minutes=30)
server = Server(OPTIONS, backbone="auto")
demo = server.page  # the name that Spaces look for

if __name__ == "__main__":
    server.serve()  # the Space says on which address and port
