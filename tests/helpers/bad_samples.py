"""Files as nobody wants them, and what a command says when it is given one."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import re
import shutil
import struct
import subprocess
import wave
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from video_samples import encode_video, moving_square

from anamodiff.cli import main as cli

HTML = b"<!DOCTYPE html><html><title>404 Not Found</title><p>no such model</p></html>"
#: What a refusal ends with, by exit code.
MISTAKE, OURS = 2, 1


class Payload:
    """Unpickled, it writes a file: code in a file that people are offered."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


def clip_files(folder: Path) -> Path:
    """Write files that are no clips, or broken ones; returns the folder."""
    folder.mkdir(parents=True)
    mp4 = encode_video(folder / "whole.mp4", moving_square(8), container={"movflags": "+faststart"})
    images = [Image.fromarray(picture) for picture in moving_square(6)]
    images[0].save(folder / "whole.gif", save_all=True, append_images=images[1:], duration=80)
    images[0].save(folder / "still.png")
    files = {
        "empty.mp4": b"",
        "text.mp4": b"a few words that are no video at all\n" * 9,
        "page.mp4": HTML,
        "page.gif": HTML,
        "cut.mp4": mp4.read_bytes()[:900],
        "cut.gif": (folder / "whole.gif").read_bytes()[:30],
        "cut.png": (folder / "still.png").read_bytes()[:50],
        "noise.bin": np.random.default_rng(0).bytes(4000),
        "zeros.mp4": bytes(5000),
        "paper.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(400),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "huge.gif": huge_gif(60_000),
        "huge.png": png_header(60_000, 60_000),
        "endless.mp4": b"#EXTM3U\n#\x01\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nwhole.mp4\n",
        "list.ffconcat": b"ffconcat version 1.0\n#\x01\nfile whole.mp4\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "archive.mp4", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.raw", bytes(2**20))
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    (folder / "nothing").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "notes.txt").write_text("no picture")
    (folder / "sizes").mkdir()
    for index, side in enumerate((20, 30)):
        images[0].resize((side, side)).save(folder / "sizes" / f"{index}.png")
    (folder / "bombs").mkdir()
    for index in range(2):
        (folder / "bombs" / f"{index}.png").write_bytes(png_header(60_000, 60_000))
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    os.mkfifo(folder / "pipe.mp4")
    return folder


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size, with its checksum."""
    size = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(size))
    begin = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + size + check
    return begin + struct.pack(">I", 2**20) + b"IDAT" + zlib.compress(bytes(2**20))


def huge_gif(side: int) -> bytes:
    """A small gif that says it is a large one."""
    size = struct.pack("<HHBBB", side, side, 0x80, 0, 0)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + size + bytes(6) + frame + b";"


def _break_weights(folder: Path, whole: Path, file: str, kept: int) -> str:
    """Break one file of weights in the copies cut (to `kept` bytes), page, nan, shape and keys.

    Returns the name of the first weight.
    """
    weights = load_file(whole / file)
    first = next(name for name in weights if name.endswith(".weight"))
    (folder / "cut" / file).write_bytes((whole / file).read_bytes()[:kept])
    (folder / "page" / file).write_bytes(HTML)
    save_file(weights | {first: torch.full_like(weights[first], torch.nan)}, folder / "nan" / file)
    save_file(weights | {first: torch.zeros(3, 3)}, folder / "shape" / file)
    save_file({f"other.{name}": v for name, v in weights.items()}, folder / "keys" / file)
    return first


def broken_backbones(folder: Path, whole: Path, payload: Path) -> Path:
    """Copies of a backbone, each with one thing wrong; and files that are none."""
    folder.mkdir(parents=True)
    unet = "unet/diffusion_pytorch_model.safetensors"
    for name in ("cut", "page", "nan", "shape", "keys", "config", "index", "code", "no_vae"):
        shutil.copytree(whole, folder / name)
    first = _break_weights(folder, whole, unet, 5000)
    (folder / "config" / "unet" / "config.json").write_text("{")
    (folder / "index" / "vae" / "config.json").write_text("[" * 200_000)
    (folder / "code" / unet).unlink()
    torch.save({first: Payload(payload)}, (folder / "code" / unet).with_suffix(".bin"))
    shutil.rmtree(folder / "no_vae" / "vae")
    (folder / "page.safetensors").write_bytes(HTML)
    (folder / "cut.safetensors").write_bytes((whole / unet).read_bytes()[:5000])
    shutil.copyfile(whole / unet, folder / "unet_only.safetensors")
    (folder / "code.ckpt").write_bytes(pickle.dumps(Payload(payload)))
    torch.save({"state_dict": Payload(payload)}, folder / "code_in_zip.ckpt")
    packed_bomb(folder / "bomb.ckpt")
    return folder


def packed_bomb(path: Path) -> None:
    """A torch file whose records unpack to a thousand times its size."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for one in old.infolist():
            more = bytes(5_000_000) if one.filename.endswith("data.pkl") else b""
            new.writestr(one.filename, old.read(one) + more)


def broken_lofnets(folder: Path, whole: Path, payload: Path) -> Path:
    """Copies of a LOFNet, each with one thing wrong."""
    folder.mkdir(parents=True)
    for name in ("cut", "page", "nan", "shape", "keys", "config", "deep", "code", "no_json"):
        shutil.copytree(whole, folder / name)
    file = "lofnet.safetensors"
    _break_weights(folder, whole, file, 3000)
    (folder / "config" / "lofnet.json").write_text("{")
    (folder / "deep" / "lofnet.json").write_text("[" * 200_000)
    (folder / "code" / file).write_bytes(pickle.dumps(Payload(payload)))
    (folder / "no_json" / "lofnet.json").unlink()
    return folder


def broken_runs(folder: Path, whole: Path, payload: Path) -> Path:
    """Copies of a tuned run folder, each with one thing wrong."""
    folder.mkdir(parents=True)
    names = ("config", "other_config", "code_config", "no_clips", "cut_clips", "other_clips")
    names += ("no_weights", "cut_lora", "page_lora", "nan_lora", "shape_lora", "code_lora")
    for name in names:
        shutil.copytree(whole, folder / name)
    lora, clips = "weights/pytorch_lora_weights.safetensors", "scene.safetensors"
    weights = load_file(whole / lora)
    first = next(iter(weights))
    (folder / "config" / "config.yaml").write_text("[: {")
    (folder / "other_config" / "config.yaml").write_text("lr: 1\n")
    (folder / "code_config" / "config.yaml").write_text(
        f"prompt: !!python/object/apply:os.system ['touch {payload}']\n"
    )
    (folder / "no_clips" / clips).unlink()
    (folder / "cut_clips" / clips).write_bytes((whole / clips).read_bytes()[:4000])
    save_file({"a": torch.zeros(2)}, folder / "other_clips" / clips)
    shutil.rmtree(folder / "no_weights" / "weights")
    (folder / "cut_lora" / lora).write_bytes((whole / lora).read_bytes()[:2000])
    (folder / "page_lora" / lora).write_bytes(HTML)
    save_file(
        weights | {first: torch.full_like(weights[first], torch.nan)}, folder / "nan_lora" / lora
    )
    save_file(weights | {first: torch.zeros(3, 3)}, folder / "shape_lora" / lora)
    (folder / "code_lora" / lora).write_bytes(pickle.dumps(Payload(payload)))
    return folder


def broken_lists(folder: Path, payload: Path) -> Path:
    """Lists for `transfer-many` that are none, or wrong."""
    folder.mkdir(parents=True)
    head = "source,driving,prompt\n"
    bomb = "- &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"- &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    texts = {
        "empty.csv": "",
        "head_only.csv": head,
        "no_prompt.csv": "source,driving\na.gif,b.gif\n",
        "column.csv": "source,driving,prompt,tuning.lrr\na.gif,b.gif,a cat,1\n",
        "range.csv": "source,driving,prompt,frames\na.gif,b.gif,a cat,1\n",
        "no_word.csv": f"{head}a.gif,b.gif,\n",
        "outside.csv": "source,driving,prompt,output\na.gif,b.gif,a cat,../../etc\n",
        "twice.csv": "source,driving,prompt,output\na.gif,b.gif,x,one\nc.gif,d.gif,y,one\n",
        "code.yaml": f"- !!python/object/apply:os.system ['touch {payload}']\n",
        "bomb.yaml": bomb,
        "deep.yaml": "[" * 5000,
        "mapping.yaml": "source: a.gif\n",
        "broken.yaml": "- {source: a.gif\n",
        "notes.txt": "a.gif b.gif",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "page.csv").write_bytes(HTML)
    (folder / "noise.csv").write_bytes(b"\xff\xfe\x00\x01" * 100)
    (folder / "code.csv").write_bytes(pickle.dumps(Payload(payload)))
    with zipfile.ZipFile(folder / "sheet.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    return folder


def broken_tables(folder: Path) -> Path:
    """A benchmark's folders and a survey's files that are none."""
    folder.mkdir(parents=True)
    tables = {
        "page": HTML.decode(), "deep": "[" * 200_000, "version": json.dumps({"version": 9}),
        "other": "[1, 2]",
    }  # fmt: skip
    for name, text in tables.items():
        (folder / name).mkdir()
        (folder / name / "results.json").write_text(text)
        (folder / f"{name}.json").write_text(text)
    os.mkfifo(folder / "pipe.json")
    (folder / "incomplete" / "pair").mkdir(parents=True)
    (folder / "incomplete" / "pair" / "source.gif").write_bytes(HTML)
    (folder / "nothing").mkdir()
    return folder


def digests(*folders: Path) -> dict[str, str]:
    """SHA-256 of every regular file, by its path."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(
    capfd: pytest.CaptureFixture[str], words: list[str], code: int = MISTAKE, warnings: int = 0
) -> str:
    """The one line with which a command refuses its input; checks that it is one, and the code.

    Args:
        warnings: lines that may come before it.
    """
    capfd.readouterr()
    log = logging.getLogger("anamodiff")
    handlers, level = log.handlers[:], log.level
    try:
        found = cli.main(words)
    finally:
        log.handlers[:], log.level = handlers, level
    out, err = capfd.readouterr()
    *before, line = err.splitlines() or [""]
    start = "anamodiff: error: " if code == MISTAKE else "anamodiff: unexpected error: "
    assert found == code, err
    assert out == "" and len(before) == warnings, (out, err)
    assert line.startswith(start) and len(line) < 1500, line
    assert "Traceback" not in err
    return line


def is_helpful(line: str) -> bool:
    """Whether a line says what was expected, what came, and what to do."""
    refused = r"got|found|lacks|holds|without|unknown|no flag|invalid choice|is not|but "
    if not re.search(refused, line):
        return False
    cure = r"[:;] *\w|did you mean|see --help|such as|one of| or |at least|of its own"
    return bool(re.search(cure, line.removeprefix("anamodiff: error: ")))


@contextmanager
def mounted(place: Path, size: str, *more: str) -> Iterator[Path]:
    """A small file system in memory at a folder; skips where nothing can be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *more]), "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)
