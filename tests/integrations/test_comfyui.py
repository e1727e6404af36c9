"""The node pack against a stub of ComfyUI's V3 interface, as ComfyUI would run it."""

import asyncio
import importlib.util
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import comfy_stub
import pytest
import torch

import anamodiff
from anamodiff.errors import AnaMoDiffError

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
NAME = "anamodiff_comfyui"


@pytest.fixture(scope="module")
def patched() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def host(patched, tmp_path_factory) -> comfy_stub.Host:
    return comfy_stub.install(patched, tmp_path_factory.mktemp("comfyui"))


@pytest.fixture(scope="module")
def pack(host, patched) -> ModuleType:
    """The pack, loaded from its folder as ComfyUI does."""
    spec = importlib.util.spec_from_file_location(
        NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for name in (NAME, f"{NAME}.nodes", f"{NAME}.host", f"{NAME}.images"):
        patched.delitem(sys.modules, name, raising=False)
    patched.setitem(sys.modules, NAME, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nodes(pack) -> dict[str, type]:
    async def listed() -> list[type]:
        return await (await pack.comfy_entrypoint()).get_node_list()

    return {node.__name__: node for node in asyncio.run(listed())}


@pytest.fixture(scope="module")
def model(nodes, tiny_backbone_folder):
    return comfy_stub.run(nodes["LoadModel"], backbone=str(tiny_backbone_folder)).args[0]


def test_a_size_can_be_asked_for(nodes, model, tiny_backbone_folder) -> None:
    smaller = comfy_stub.run(nodes["LoadModel"], backbone=str(tiny_backbone_folder), size=32)
    assert (model.backbone.image_size, smaller.args[0].backbone.image_size) == (64, 32)


@pytest.fixture(scope="module")
def clips(nodes, host, drawn_clips) -> dict:
    """What Load Clip gives of both clips."""
    for path in drawn_clips:
        shutil.copyfile(path, host.input / path.name)
    (host.input / "notes.txt").write_text("no clip")
    load = nodes["LoadClip"]
    (source, _), (driving, fps) = (
        comfy_stub.run(load, file=path.name).args for path in drawn_clips
    )
    return {"source": source, "driving": driving, "fps": fps, "frames": 4}


def test_nodes_are_declared_as_comfyui_wants_them(nodes, host) -> None:
    schemas = [comfy_stub.check_node(node) for node in nodes.values()]
    assert [schema.node_id for schema in schemas] == [
        f"AnaMoDiff{name}" for name in ("LoadModel", "LoadClip", "Preview", "Transfer", "Save")
    ]
    assert {schema.category for schema in schemas} == {"AnaMoDiff"}
    assert [schema.is_output_node for schema in schemas] == [False] * 4 + [True]


def test_clips_of_the_input_folder_are_read(nodes, clips, drawn_clips) -> None:
    load = nodes["LoadClip"]
    assert load.define_schema().inputs[0].options == sorted(path.name for path in drawn_clips)
    clip = anamodiff.read_clip(drawn_clips[1], frames=None)
    assert clips["driving"].shape == (6, 64, 64, 3) and clips["fps"] == clip.fps
    torch.testing.assert_close(clips["driving"].permute(0, 3, 1, 2) * 2 - 1, clip.frames)
    assert load.validate_inputs("source.gif") is True
    assert "gone.gif" in load.validate_inputs("gone.gif")
    assert load.fingerprint_inputs("source.gif", 0) > 0


def test_other_files_of_the_machine_are_not_read(nodes, host, clips, drawn_clips) -> None:
    load = nodes["LoadClip"]
    for name in (str(drawn_clips[0]), "../../../etc/passwd", "../inputs/clip.gif"):
        assert load.validate_inputs(name) is not True
        with pytest.raises(AnaMoDiffError, match="ComfyUI's folders"):
            load.execute(name, 0)


def test_a_transfer_is_the_library_s(
    nodes, host, model, clips, drawn_clips, tiny_backbone_folder, tmp_path
) -> None:
    images, fps, run = comfy_stub.run(
        nodes["Transfer"], model=model, **clips, prompt="a green turtle", seed=5, iterations=2,
        steps=2,
    ).args  # fmt: skip
    made = anamodiff.transfer(
        *drawn_clips, prompt="a green turtle", backbone=tiny_backbone_folder, frames=4, seed=5,
        tuning={"iterations": 2}, generation={"steps": 2}, output=tmp_path / "run",
        progress=False, device="cpu",
    )  # fmt: skip
    torch.testing.assert_close(images, (made.frames.permute(0, 2, 3, 1) + 1) / 2, rtol=0, atol=0)
    assert fps == pytest.approx(made.fps)
    assert Path(run) == host.output / "anamodiff" / "run_00001"
    assert (Path(run) / "result.mp4").is_file()
    assert host.progress == sorted(host.progress) and host.progress[-1] == 1


def test_a_run_that_is_stopped_ends(nodes, host, model, clips) -> None:
    host.stopped = True
    try:
        with pytest.raises(comfy_stub.Interrupted):
            comfy_stub.run(nodes["Transfer"], model=model, **clips, iterations=2, steps=2)
    finally:
        host.stopped = False


@pytest.mark.parametrize("pose", ["points", "skeleton"])
def test_a_preview_shows_joints_and_the_warped_clip(nodes, model, clips, pose) -> None:
    warped, target, source, driving, fps = comfy_stub.run(
        nodes["Preview"], model=model, **clips, start_frame=-1, pose=pose
    ).args
    assert len(warped) == len(target) == len(driving) == 4
    assert len(source) == (4 if pose == "skeleton" else 1)
    assert (warped - target).abs().max() > 0.1  # joints are drawn
    assert fps == pytest.approx(clips["fps"] * 4 / 6)


@pytest.mark.parametrize("format", ["mp4", "gif", "webm"])
def test_saving_writes_into_the_output_folder(nodes, host, clips, format) -> None:
    done = comfy_stub.run(
        nodes["Save"], images=clips["driving"], fps=5.0, filename_prefix="me/clip", format=format
    )
    (saved,) = done.ui.as_dict()["images"]
    assert (saved["subfolder"], saved["type"]) == ("me", "output")
    back = anamodiff.read_clip(host.output / "me" / saved["filename"], frames=None)
    assert len(back.frames) == 6 and back.fps == pytest.approx(5)
    difference = back.frames - (clips["driving"].permute(0, 3, 1, 2) * 2 - 1)
    assert difference.abs().mean() < 0.1


def test_mistakes_are_the_library_s_own_line(nodes, model, clips) -> None:
    still = {**clips, "driving": clips["driving"][:1]}
    with pytest.raises(AnaMoDiffError, match="driving clip of at least 2 frames, got 1"):
        comfy_stub.run(nodes["Transfer"], model=model, **still)
    with pytest.raises(AnaMoDiffError, match="start_frame"):
        comfy_stub.run(nodes["Preview"], model=model, **clips, start_frame=9)


def test_the_pack_says_what_the_registry_asks() -> None:
    facts = tomllib.loads((PACK / "pyproject.toml").read_text())
    project, comfy = facts["project"], facts["tool"]["comfy"]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", project["name"]) and project["description"]
    assert project["version"] == anamodiff.__version__
    assert project["license"] and "anamodiff" in project["dependencies"][0]
    assert comfy["PublisherId"] and comfy["DisplayName"] == "AnaMoDiff"
    requirements = (PACK / "requirements.txt").read_text().split("\n")
    assert [line for line in requirements if line] == project["dependencies"]
