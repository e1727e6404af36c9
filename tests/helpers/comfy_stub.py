"""Stands for ComfyUI's V3 interface, and checks what a node declares and gives against it.

Names and parameters are those of `comfy_api.latest` (November 2026): what that would refuse is
refused here, too. `run` executes a node as ComfyUI does: under `inference_mode`, inputs by name.
"""

import inspect
import os
import sys
import types
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor


class FolderType(StrEnum):
    input, output, temp = "input", "output", "temp"


class UploadType(StrEnum):
    image, audio, video, model = "image_upload", "audio_upload", "video_upload", "file_upload"


@dataclass
class Input:
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    lazy: bool | None = None
    extra_dict: dict | None = None
    raw_link: bool | None = None
    advanced: bool | None = None
    kind: ClassVar[Any] = None

    def check(self, value: Any) -> None:
        self.kind.check(value)


@dataclass
class Widget(Input):
    default: Any = None
    socketless: bool | None = None
    force_input: bool | None = None


@dataclass
class Number(Widget):
    min: float | None = None
    max: float | None = None
    step: float | None = None
    control_after_generate: bool | None = None
    display_mode: Any = None

    def check(self, value: Any) -> None:
        super().check(value)
        assert self.min is not None and self.max is not None, f"{self.id} has no range"
        assert self.min <= value <= self.max, f"{self.id}={value} is out of range"


@dataclass
class Text(Widget):
    multiline: bool = False
    placeholder: str | None = None
    dynamic_prompts: bool | None = None


@dataclass
class Choice(Widget):
    options: list | None = None
    control_after_generate: bool | None = None
    upload: UploadType | None = None
    image_folder: FolderType | None = None
    remote: Any = None

    def check(self, value: Any) -> None:
        super().check(value)
        assert self.options is not None and value in self.options, f"{self.id}={value!r}"


@dataclass
class Output:
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None
    is_output_list: bool = False
    kind: ClassVar[Any] = None


def comfy_type(io_type: str, python: type, widget: type = Input) -> type:
    """A type of the interface, with classes for inputs and outputs of it."""

    def check(value: Any) -> None:
        assert isinstance(value, python) and not (python is int and isinstance(value, bool)), (
            f"expected {io_type}, got {type(value).__name__}"
        )
        if io_type == "IMAGE":
            assert value.ndim == 4 and value.shape[-1] == 3 and value.dtype == torch.float32
            assert value.min() >= 0 and value.max() <= 1 and len(value) > 0

    kind = types.SimpleNamespace(io_type=io_type, check=staticmethod(check))
    members: dict[str, Any] = {"io_type": io_type}
    for name, base in (("Input", widget), ("Output", Output)):
        members[name] = type(name, (base,), {"kind": kind})
    return type(io_type, (), members)


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_experimental: bool = False
    not_idempotent: bool = False


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, expand: Any = None) -> None:
        self.args, self.ui, self.expand = args, ui, expand


class ComfyNode:
    hidden = None


class SavedResult(dict):
    def __init__(self, filename: str, subfolder: str, type: FolderType) -> None:
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)


class SavedImages:
    def __init__(self, results: list[SavedResult], is_animated: bool = False) -> None:
        self.values = {"images": results, "animated": (is_animated,)}

    def as_dict(self) -> dict:
        return self.values


class PreviewVideo:
    def __init__(self, values: list[SavedResult], **_: Any) -> None:
        self.values = values

    def as_dict(self) -> dict:
        return {"images": self.values, "animated": (True,)}


class ComfyExtension:
    async def get_node_list(self) -> list[type[ComfyNode]]:
        raise NotImplementedError


class Interrupted(Exception):
    """ComfyUI's own, where the user has stopped a run."""


class Host:
    """ComfyUI's folders, what it was told of progress, and whether the user has stopped it."""

    def __init__(self, home: Path) -> None:
        self.input, self.output = home / "input", home / "output"
        self.input.mkdir(parents=True)
        self.output.mkdir()
        self.progress: list[float] = []
        self.stopped = False

    def set_progress(self, value: float, max_value: float, **_: Any) -> None:
        assert 0 <= value <= max_value
        self.progress.append(value / max_value)

    def throw_if_stopped(self) -> None:
        if self.stopped:
            raise Interrupted

    def annotated(self, name: str) -> str:
        return os.path.join(self.input, name)  # ComfyUI does not look where that leads

    def save_path(self, prefix: str, folder: str, width: int, height: int) -> tuple:
        subfolder, _, name = prefix.rpartition("/")
        full = Path(folder) / subfolder
        full.mkdir(parents=True, exist_ok=True)
        return str(full), name, len(list(full.glob(f"{name}_*"))) + 1, subfolder, prefix


def install(monkeypatch: pytest.MonkeyPatch, home: Path) -> Host:
    """Put the interface where a node pack imports it from."""
    host = Host(home)
    io = types.SimpleNamespace(
        Schema=Schema, ComfyNode=ComfyNode, NodeOutput=NodeOutput, FolderType=FolderType,
        UploadType=UploadType, Image=comfy_type("IMAGE", Tensor),
        Int=comfy_type("INT", int, Number),
        Float=comfy_type("FLOAT", float, Number), String=comfy_type("STRING", str, Text),
        Combo=comfy_type("COMBO", str, Choice), Custom=lambda name: comfy_type(name, object),
    )  # fmt: skip
    ui = types.SimpleNamespace(
        SavedResult=SavedResult, SavedImages=SavedImages, PreviewVideo=PreviewVideo
    )
    api = types.SimpleNamespace(execution=types.SimpleNamespace(set_progress=host.set_progress))
    contents = {
        "comfy_api": {},
        "comfy_api.latest": {
            "io": io, "ui": ui, "ComfyExtension": ComfyExtension, "ComfyAPISync": lambda: api
        },
        "comfy": {},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": host.throw_if_stopped
        },
        "folder_paths": {
            "get_input_directory": lambda: str(host.input),
            "get_output_directory": lambda: str(host.output),
            "get_temp_directory": lambda: str(home / "temp"),
            "get_annotated_filepath": host.annotated,
            "get_save_image_path": host.save_path,
        },
    }  # fmt: skip
    for name, members in contents.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return host


def check_node(node: type) -> Schema:
    """Check what a node declares; returns it."""
    assert issubclass(node, ComfyNode)
    schema = node.define_schema()
    assert schema.node_id and schema.display_name and schema.description and schema.category
    ids = [given.id for given in schema.inputs]
    assert len(set(ids)) == len(ids)
    names = [given.id for given in schema.outputs if given.id is not None]
    assert len(set(names)) == len(names)
    parameters = inspect.signature(node.execute).parameters
    assert list(parameters) == ids, "execute takes the inputs by name"
    for given in schema.inputs:
        has_default = parameters[given.id].default is not inspect.Parameter.empty
        assert has_default == bool(given.optional), given.id
        if isinstance(given, Widget) and given.default is not None:
            given.check(given.default)
    for name in ("fingerprint_inputs", "validate_inputs"):
        if hasattr(node, name):
            assert set(inspect.signature(getattr(node, name)).parameters) <= set(ids)
    return schema


def run(node: type, **values: Any) -> NodeOutput:
    """Execute a node as ComfyUI does, with the defaults of what is not given."""
    schema = check_node(node)
    given = {i.id: i.default for i in schema.inputs if getattr(i, "default", None) is not None}
    given |= values
    for socket in schema.inputs:
        if socket.id in given:
            socket.check(given[socket.id])
        else:
            assert socket.optional, f"{socket.id} is required"
    assert set(given) <= {socket.id for socket in schema.inputs}
    with torch.inference_mode():
        done = node.execute(**given)
    assert isinstance(done, NodeOutput) and len(done.args) == len(schema.outputs)
    for socket, value in zip(schema.outputs, done.args, strict=True):
        socket.kind.check(value)
    if done.ui is not None:
        assert schema.is_output_node and isinstance(done.ui.as_dict(), dict)
    return done
