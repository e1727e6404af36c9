"""Other programs' conventions around the one path of `run/`: nothing is computed here.

`pipeline` is a pipeline of diffusers (this folder is what `custom_pipeline` takes), `blocks` are
modular blocks of diffusers. Nodes for ComfyUI are in the repository's `integrations/comfyui`.
"""
