"""The page (`anamodiff app`): a Gradio face of the one path in `run/`; nothing is computed here."""
