"""The page: what it is laid out of, and which part asks for what. It computes nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from caffe_gp.explore import parts
from caffe_gp.explore.answers import Answer, Answers
from caffe_gp.explore.net import ENCODINGS, MAX_ITERATIONS, SharedNet
from caffe_gp.images.inputs import IMAGE_SUFFIXES

STATIC = Path(__file__).resolve().parent / "static"


def page(net: SharedNet, examples: str, answers: Answers) -> Any:
    """The page as ``gradio.Blocks``. ``examples``: the text of their buttons."""
    import gradio as gr

    plain: dict[str, Any] = {"apply_default_css": False}
    on_click = (STATIC / "clicks.js").read_text(encoding="utf-8")
    with gr.Blocks(title=f"caffe_gp: {net.title}", analytics_enabled=False) as blocks:
        gr.HTML(parts.about_net(net), **plain)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                gallery = gr.HTML(examples, js_on_load=on_click, **plain)
                upload = gr.UploadButton(
                    "Upload a picture", file_types=list(IMAGE_SUFFIXES), size="sm", elem_id="upload"
                )
                eps = gr.Slider(-1, 1, value=0, step=0.01, label="eps", elem_id="eps")
                iterations = gr.Slider(1, MAX_ITERATIONS, value=1, step=1, label="iterations")
                blob = gr.Dropdown(net.blobs, value=net.first_blob, label="blob", elem_id="blob")
                encoding = gr.Dropdown(list(ENCODINGS), value="onehot", label="encoding", elem_id="encoding")
            with gr.Column(scale=3, min_width=320):
                state = gr.HTML("<p class='soft'>One moment: the net looks.</p>", elem_id="state", **plain)
                shown = gr.HTML(js_on_load=on_click, elem_id="shown", **plain)
                with gr.Row():
                    with gr.Column(scale=2, min_width=280):
                        classes = gr.HTML(elem_id="classes", **plain)
                    with gr.Column(scale=3, min_width=320):
                        curves = gr.HTML(elem_id="curves", **plain)
        outputs = {"eps": eps, "state": state, "shown": shown, "classes": classes, "curves": curves}
        method = [blob, encoding, iterations]

        def answered(answer: Answer) -> list[Any]:
            values = {**answer, "eps": gr.update(**answer["eps"])} if "eps" in answer else answer
            return [values.get(name, gr.skip()) for name in outputs]

        def by_user(ask: Callable[..., Answer]) -> Callable[..., Any]:
            def call(request: Any, *given: Any) -> list[Any]:
                return answered(ask(request.session_hash, *given))

            call.__annotations__ = {"request": gr.Request}  # by which gradio knows what to hand over
            return call

        def by_click(ask: Callable[..., Answer]) -> Callable[..., Any]:
            def call(request: Any, event: Any, *given: Any) -> list[Any]:
                clicked = event._data if isinstance(event._data, dict) else {}
                return answered(ask(request.session_hash, clicked, *given))

            call.__annotations__ = {"request": gr.Request, "event": gr.EventData}
            return call

        def leave(request: Any) -> None:
            answers.leave(request.session_hash)

        leave.__annotations__ = {"request": gr.Request}

        def on(event: Any, function: Callable[..., Any], inputs: list[Any], **more: Any) -> Any:
            # One queue: the net makes one pass at a time.
            return event(
                function,
                inputs,
                list(outputs.values()),
                concurrency_id="net",
                concurrency_limit=1,
                api_visibility="private",
                show_progress="hidden",
                **more,
            )

        asked = [
            on(blocks.load, by_user(answers.first), method),
            on(gallery.click, by_click(answers.example), method),
            on(upload.upload, by_user(answers.upload), [upload, *method]),
            on(eps.input, by_user(answers.move), [eps], trigger_mode="always_last"),
        ]
        for control in (blob, encoding, iterations):
            asked.append(
                on(control.input, by_user(answers.again), [eps, *method], trigger_mode="always_last")
            )
        for one in asked:
            on(one.then, by_user(answers.curves), [])
        on(shown.click, by_click(answers.click), [])
        blocks.unload(leave)
    return blocks
