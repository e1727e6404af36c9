"""The flags of the command line: what `--help` says of each."""

# What each flag means, by the key that it sets; flags are spelled by `settings.shown`.
FLAGS: dict[str, tuple[str, str]] = {
    "clip": ("CLIP", "clip that is looked into; without --driving it drives itself"),
    "result": ("RESULT", "video file, folder of frames, or run folder that transfer wrote"),
    "results": ("RESULTS", "folder that benchmark wrote"),
    "answers": ("ANSWERS", "files that the survey's page saved, one for each person"),
    "figure": ("FIGURE", "figure7, figure8 or table1 (default: figure7)"),
    "pairs": (
        "PAIRS",
        "folder of NAME/source, driving and truth; for drawn pairs creatures, or creatures-apart, "
        "where source and driving clip begin in unlike poses",
    ),
    "source": ("FILE", "clip or picture of the character that is to move"),
    "driving": ("FILE", "clip of the motion that it is to perform"),
    "truth": ("CLIP", "clip of the same character really performing that motion"),
    "prompt": ("TEXT", 'a few words for what the source shows, such as "a turtle"'),
    "data": ("FOLDER", "clips to train on: video files, gifs, folders of frames"),
    "run": ("FOLDER", "run folder that tune or transfer wrote (default: --output, if that is one)"),
    "output": (
        "PATH",
        "run folder, or FILE.mp4, .gif or .webm for the video; inspect: FILE.png; survey: a new "
        "folder; transfer-many: the folder of all; evaluate, survey-results: FILE.json "
        "(default: outputs/...)",
    ),
    "backbone": (
        "NAME",
        "auto, mini, a diffusers folder, one .safetensors or .ckpt file, or a hub id "
        "(default: auto)",
    ),
    "lofnet": ("FOLDER", "LOFNet weights (default: those beside the backbone)"),
    "clip_model": (
        "NAME",
        "CLIP model: a folder, a hub id, none, or auto, OpenAI's ViT-B/32 where it is at hand "
        "(default: auto)",
    ),
    "frames": ("N", "frames of the result (default: 10)"),
    "seed": (
        "N",
        "same seed and machine, same frames; survey: same order (default: 0; generate: the run's)",
    ),
    "start_frame": (
        "N",
        "source frame to start from: first, auto (nearest pose) or a number (default: first)",
    ),
    "preset": (
        "NAME",
        "paper, its literal schedule, or fast (default: what suits the backbone; generate: the "
        "run's)",
    ),
    "tuning.iterations": ("N", "tuning iterations (default: the backbone's)"),
    "tuning.noise_min": (
        "T",
        "lowest noise step at which motion is learned (default: the backbone's)",
    ),
    "generation.steps": ("N", "DDIM steps (default: the backbone's)"),
    "generation.guidance": ("X", "classifier-free guidance scale (default: the backbone's)"),
    "show.pairs": ("N", "pairs that each person ranks, drawn at random (default: all)"),
    "show.methods": ("NAMES", "methods that are shown, with commas between them (default: all)"),
    "key": (
        "FILE",
        "key.json that survey wrote (default: the one beside the answers or one folder above)",
    ),
    "methods": ("NAMES", "methods, with commas between them (default: anamodiff,warp-only,still)"),
    "method": ("NAME=FOLDER", "one method more: clips made elsewhere, named after the pairs"),
    "limit": ("N", "only so many pairs, spread evenly (default: all)"),
    "list": ("LIST", ".csv or .yaml of transfers: source, driving, prompt, any other setting"),
    "jobs": ("N", "jobs that share the rows, with launcher=joblib or another (default: 1)"),
    "workers": ("N", "processes that answer pairs side by side (default: 1)"),
    "training.steps": ("N", "training steps (default: 20000)"),
    "device": ("NAME", "auto, cpu, cuda, cuda:1, mps (default: auto)"),
    "memory.vram": (
        "GIB",
        "graphics memory to make do with: 8, 12, 16, 24, or auto, what is free on a CUDA device; "
        "no effect on a CPU (default: auto)",
    ),
    "precision": ("NAME", "auto, fp32, fp16, bf16 (default: auto)"),
    "what": ("WHAT", "sd14, clip, tokenizer, fomm, or the hub id of a backbone or CLIP model"),
    "from": (
        "OWNER/NAME/FILE",
        "for fomm, whose authors publish it outside the hub: a file on the hub that you trust",
    ),
    "resume": (
        "",
        "go on with a run that was stopped (the newest with these settings, or --output)",
    ),
}
