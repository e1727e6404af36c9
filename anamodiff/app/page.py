"""The page: fields, films and buttons, and what each of them calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, get_args

import gradio as gr

from anamodiff.app.handlers import Handlers, Shown, Wishes, explained
from anamodiff.app.player import JAVASCRIPT, note
from anamodiff.app.texts import FILES, INTRODUCTION, PREVIEW
from anamodiff.app.uploads import SUFFIXES
from anamodiff.fields import typed
from anamodiff.options import (
    FRAMES,
    PRESETS,
    AdaptationOptions,
    PoseRule,
    PoseStart,
)
from anamodiff.run.downloads import FORMATS
from anamodiff.run.examples import write_examples

MOST_FRAMES = 64
CLIPS = {"source": "Source", "driving": "Driving clip"}
COMPUTE = "compute"  # one at a time, whoever asks
SUITABLE = "what suits the model"
#: Label, source and driving clip of `run.examples`.
EXAMPLES = (
    ("Turtle jumps like a rhino", "turtle.gif", "rhino-jumps.gif"),
    ("Fox gallops like a horse", "fox.png", "horse-gallops.gif"),
    ("Elephant walks like a camel", "elephant.mp4", "camel-walks.mp4"),
    ("Flag waves like a flag", "flag.gif", "flag-waves.gif"),
)
# Both have an input named "File upload": the groups around them are told apart.
_NAME_GROUPS = f"""() => {{
  for (const [id, name] of Object.entries({json.dumps(CLIPS)})) {{
    const group = document.getElementById(id);
    group.setAttribute('role', 'group');
    group.setAttribute('aria-label', name);
  }}
}}"""


def build_page(handlers: Handlers) -> gr.Blocks:
    """The page's blocks; files go to the folder of `handlers`."""
    keep = 60 * handlers.options.keep_minutes
    with gr.Blocks(
        title="AnaMoDiff", analytics_enabled=False, delete_cache=(max(60, keep // 4), keep)
    ) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                fields = _fields()
                with gr.Row():
                    run = gr.Button("Run", variant="primary", min_width=140, elem_id="run")
                    cancel = gr.Button(
                        "Cancel", variant="stop", interactive=False, min_width=140, elem_id="cancel"
                    )
                with gr.Accordion("More settings", open=False, elem_id="more"):
                    fields |= _more_fields()
            with gr.Column(scale=3, min_width=320):
                gr.Markdown(f"### Preview, before anything is tuned\n{PREVIEW}")
                films = gr.HTML(_first_note(), js_on_load=JAVASCRIPT, elem_id="preview")
                gr.Markdown("### Result")
                status = gr.HTML(note("Nothing was run yet.", True), elem_id="status")
                result = gr.HTML("", js_on_load=JAVASCRIPT, elem_id="result")
                files = []
                for names in (FORMATS[:3], FORMATS[3:]):
                    with gr.Row():
                        files += [_download(name) for name in names]
                gr.Markdown(FILES)
        outputs = [status, result, run, cancel, *files]
        _connect(page, handlers, fields, (films, status, run, cancel), outputs)
    return page


def _download(name: str) -> gr.DownloadButton:
    return gr.DownloadButton(
        name, interactive=False, size="sm", min_width=90, elem_id=f"get-{name.split()[0].lower()}"
    )


def _first_note() -> str:
    return note("Drop a source and a driving clip, or choose an example.", True)


def _fields() -> dict[str, Any]:
    """The left column: examples, clips, prompt, and settings by their keys."""
    fields: dict[str, Any] = {}
    gr.Markdown("Try an example, or drop your own: a video, gif, picture, zip or several pictures.")
    with gr.Row(elem_id="examples"):
        fields["examples"] = [
            gr.Button(label, size="sm", min_width=150, elem_id=f"example-{i}")
            for i, (label, *_) in enumerate(EXAMPLES)
        ]
    for key, label in CLIPS.items():
        fields[key] = gr.File(
            label=label, file_count="multiple", file_types=[*SUFFIXES], height=130, elem_id=key
        )
    fields["prompt"] = gr.Textbox(
        label="Prompt: what the source shows, in a few words", placeholder="a green turtle",
        max_lines=1, max_length=300, elem_id="prompt",
    )  # fmt: skip
    fields["pose"] = gr.Radio(
        [*get_args(PoseRule)], value="auto", label="What carries the motion", elem_id="pose",
        info="a skeleton suits animals, points suit letters and flags; auto chooses",
    )  # fmt: skip
    fields["start"] = gr.Radio(
        ["first", "auto", "number"], value="first", label="Start frame of the source",
        info="auto: the one whose pose is nearest to the driving clip's first", elem_id="start",
    )  # fmt: skip
    fields["number"] = gr.Slider(
        0, FRAMES - 1, 0, step=1, label="Number of the start frame", visible=False, elem_id="number"
    )
    fields["motion_scale"] = gr.Slider(
        0, 2, 1, step=0.05, label="Motion scale: how far the motion goes", elem_id="motion-scale"
    )
    fields["frames"] = gr.Slider(
        2, MOST_FRAMES, FRAMES, step=1, label="Frames of the result", elem_id="frames"
    )
    return fields


def _more_fields() -> dict[str, Any]:
    return {
        "matte": gr.Radio(
            ["auto", "none"], value="auto", label="Cut the characters out of their grounds",
            elem_id="matte",
        ),
        "pose_start": gr.Radio(
            [*get_args(PoseStart)], value=AdaptationOptions.start, elem_id="pose-start",
            label="First pose, with skeletons: the driver's (absolute), the source's (relative)",
        ),
        "ground": gr.Radio(
            ["source", "driving", "white", "transparent"], value="source", elem_id="ground",
            label="What the result stands on",
        ),
        "preset": gr.Dropdown(
            [SUITABLE, *PRESETS], value=SUITABLE, label="Preset", filterable=False, elem_id="preset"
        ),
        # Empty number fields arrive as 0, which is a number of iterations.
        **{
            key: gr.Textbox(
                label=label, placeholder=SUITABLE, max_lines=1, max_length=20, elem_id=key
            )
            for key, label in (
                ("iterations", "Tuning iterations: how long your clips are learnt"),
                ("steps", "Sampling steps: how finely the result is made"),
                ("guidance", "Guidance: how much the prompt counts, 1 is none"),
            )
        },
        "seed": gr.Number(
            0, label="Seed: another number gives another result", minimum=0, maximum=2**31,
            precision=0, elem_id="seed",
        ),
    }  # fmt: skip


NAMES = (
    "source", "driving", "prompt", "pose", "start", "number", "motion_scale", "frames", "matte",
    "pose_start", "ground", "preset", "iterations", "steps", "guidance", "seed",
)  # fmt: skip
# What the preview depends on.
PREVIEWED = ("pose", "start", "pose_start", "matte")
SLIDERS = ("number", "motion_scale", "frames")


def wishes_of(*values: Any) -> Wishes:
    """The fields' values, in the order of `NAMES`."""
    v = dict(zip(NAMES, values, strict=True))
    ground = "#FFFFFF" if v["ground"] == "white" else v["ground"]
    return Wishes(
        source=v["source"], driving=v["driving"], prompt=v["prompt"] or "",
        frames=int(v["frames"]), start=v["start"], start_number=int(v["number"] or 0),
        seed=int(v["seed"] or 0), preset=None if v["preset"] == SUITABLE else v["preset"],
        stages={
            "adaptation": {
                "pose": v["pose"], "start": v["pose_start"], "matte": v["matte"],
                "motion_scale": float(v["motion_scale"]),
            },
            "tuning": {"iterations": _number(v["iterations"])},
            "generation": {
                "steps": _number(v["steps"]), "guidance": _number(v["guidance"]), "ground": ground
            },
        },
    )  # fmt: skip


def _number(text: str | None) -> Any:
    """What is written in an optional field; None where it is empty."""
    return typed(None, text.strip()) if text and text.strip() else None


def _connect(
    page: gr.Blocks, handlers: Handlers, fields: dict[str, Any], parts: tuple[Any, ...],
    outputs: list[Any],
) -> None:  # fmt: skip
    """What each field and button does."""
    films, status, run, cancel = parts
    inputs = [fields[name] for name in NAMES]
    number = fields["number"]

    @told
    def preview(*values: Any) -> tuple[str, Any]:
        wishes = wishes_of(*values)
        made, count = handlers.preview(wishes)
        chosen = gr.update(
            visible=wishes.start == "number", maximum=max(1, count - 1), interactive=count > 1,
            value=min(wishes.start_number, count - 1),
        )  # fmt: skip
        return made, chosen

    @told_stepwise
    def transfer(*values: Any, session: str) -> Iterator[list[Any]]:
        for shown in handlers.run(wishes_of(*values), session):
            yield _updates(shown)

    def start(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        yield from transfer(*values, session=str(request.session_hash))

    def stop(request: gr.Request) -> list[Any]:
        handlers.cancel(str(request.session_hash))
        return [note("Cancelled."), gr.update(interactive=True), gr.update(interactive=False)]

    def leave(request: gr.Request) -> None:
        handlers.cancel(str(request.session_hash))

    changes = [fields[name].change for name in ("source", "driving")]
    changes += [fields[name].input for name in (*PREVIEWED, *SLIDERS)]
    changes.append(fields["prompt"].blur)
    gr.on(
        changes, preview, inputs, [films, number], trigger_mode="always_last",
        concurrency_id=COMPUTE, concurrency_limit=1, show_progress="minimal",
        show_progress_on=films, api_visibility="private",
    )  # fmt: skip
    running = run.click(
        start, inputs, outputs, concurrency_id=COMPUTE, concurrency_limit=1, trigger_mode="once",
        show_progress="minimal", show_progress_on=status, api_visibility="private",
    )  # fmt: skip
    cancel.click(
        stop, None, [status, run, cancel], cancels=[running], queue=False, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip
    _connect_examples(handlers, fields)
    page.load(js=_NAME_GROUPS)
    page.unload(leave)


def _connect_examples(handlers: Handlers, fields: dict[str, Any]) -> None:
    """Each example fills in both clips and the prompt."""
    folder = handlers.folder / "examples"
    for button, (_, source, driving) in zip(fields["examples"], EXAMPLES, strict=True):

        @told
        def choose(
            source: str = source, driving: str = driving
        ) -> tuple[list[str], list[str], str]:
            made = write_examples(folder)
            return [str(folder / source)], [str(folder / driving)], made.sources[source]

        button.click(
            choose, None, [fields["source"], fields["driving"], fields["prompt"]],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip


def _updates(shown: Shown) -> list[Any]:
    """Values for `outputs`, in their order."""
    films = gr.skip() if shown.films is None else shown.films
    buttons = [gr.update(interactive=not shown.running), gr.update(interactive=shown.running)]
    if shown.files is None:
        files = [gr.update(value=None, interactive=False) if shown.running else gr.skip()] * len(
            FORMATS
        )
    else:
        found = [shown.files.get(name) for name in FORMATS]
        files = [gr.update(value=path and str(path), interactive=bool(path)) for path in found]
    return [shown.status, films, *buttons, *files]


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose errors the page shows as one line."""

    @wraps(function)
    def telling(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except Exception as error:
            raise gr.Error(explained(error), print_exception=False) from None

    return telling


def told_stepwise(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """`told` of a run: its buttons are free again after an error."""

    @wraps(function)
    def telling(*given: Any, **named: Any) -> Iterator[Any]:
        try:
            yield from function(*given, **named)
        except Exception as error:
            line = explained(error)
            yield _updates(Shown(note(f"Not done: {line}"), running=False))
            raise gr.Error(line, print_exception=False) from None

    return telling
