"""The web page: pictures in, and beside each its larger self, on gradio."""

from pathlib import Path
from typing import Any

from srgan.images import PICTURE_SUFFIXES
from srgan.serve.gradio_import import import_gradio
from srgan.serve.jobs import JobQueue
from srgan.serve.options import Limits
from srgan.serve.page_guard import PageGuard
from srgan.serve.page_work import PageWork, Shown
from srgan.serve.pictures import Kitchen

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE / "examples").glob("*.jpg"))
SCALES = (1, 2, 3, 4, 8)
HEADER = """\
<h1>srgan</h1>
<p>Makes photographs larger and sharper, on this machine: nothing leaves it.</p>
"""
HINT = "<p class=hint>Drop, paste or choose pictures. What becomes of them appears here.</p>"
FOOTER = '<a href="docs">The same as an HTTP service</a>'
SWEEP_SECONDS = 60


def make_page(kitchen: Kitchen, queue: JobQueue, limits: Limits, folder: Path) -> Any:
    """The page as an ASGI application.

    Args:
        folder: for what is uploaded to the page.
    """
    folder.mkdir()
    gr = import_gradio(folder)
    gr.set_static_paths([kitchen.folder])  # served as they are, without a copy for gradio
    from fastapi import FastAPI

    blocks = _build(gr, PageWork(kitchen, queue, limits), kitchen, limits)
    # The address is for links alone. No node server, no MCP, nothing kept in the browser.
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.max_bytes,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(gr),
        css_paths=HERE / "page.css",
        head=f"<script>{(HERE / 'page.js').read_text()}</script>",
    )
    blocks.has_launched = blocks.is_running = True  # or gradio would not check paths
    return PageGuard(app, folder, limits)


def _theme(gr: Any) -> Any:
    """Fonts of the visitor's system: the default's would be asked of Google."""
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def _build(gr: Any, work: PageWork, kitchen: Kitchen, limits: Limits) -> Any:
    names = kitchen.models.names
    default_scale = kitchen.models[names[0]].scale
    with gr.Blocks(
        title="srgan",
        analytics_enabled=False,
        delete_cache=(SWEEP_SECONDS, int(limits.keep_seconds)),
    ) as blocks:
        gr.HTML(HEADER, padding=False, elem_id="header")
        shown = gr.State([])
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                files = gr.File(
                    label="Pictures",
                    file_count="multiple",
                    file_types=sorted(PICTURE_SUFFIXES),
                    height=180,
                    elem_id="pictures",
                )
                facts = gr.HTML(padding=False, elem_id="facts")
                examples = gr.Dataset(
                    label="Or one of these",
                    components=[gr.Image(render=False)],
                    samples=[[str(path)] for path in EXAMPLES],
                    type="index",
                    elem_id="examples",
                )
                model = gr.Dropdown(names, value=names[0], label="Model", elem_id="model")
                scale = gr.Radio(
                    [(f"{factor}x", factor) for factor in SCALES],
                    value=default_scale,
                    label="Scale",
                    info="1x keeps the size and sharpens",
                    elem_id="scale",
                )
                with gr.Row():
                    go = gr.Button("Upscale", variant="primary", interactive=False, elem_id="go")
                    stop = gr.Button("Cancel", variant="stop", visible=False, elem_id="stop")
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(HINT, padding=False, elem_id="status")
                choice = gr.Radio([], label="Result", visible=False, elem_id="choice")
                slider = gr.ImageSlider(
                    label="Bicubic on the left, srgan on the right",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=600,
                    visible=False,
                    elem_id="slider",
                )
                with gr.Row(visible=False, elem_id="zoom") as zoom:
                    fit = gr.Button("Whole picture", size="sm", min_width=80)
                    full = gr.Button("100 %", size="sm", min_width=80)
                caption = gr.HTML(padding=False, elem_id="caption")
                download = gr.DownloadButton(
                    "Download", variant="primary", visible=False, elem_id="download"
                )
        gr.HTML(FOOTER, padding=False, elem_id="footer")

        def describe(paths: list[str] | None, model: str, scale: float) -> dict[Any, Any]:
            text, possible = work.describe(paths or [], model, scale)
            return {facts: text, go: gr.Button(interactive=possible)}

        def at_rest(message: str = "") -> dict[Any, Any]:
            return {
                status: message,
                go: gr.Button(visible=True),
                stop: gr.Button(visible=False),
            }

        def show(results: list[Shown], number: int | None) -> dict[Any, Any]:
            if not results:
                return {each: gr.update(visible=False) for each in (slider, zoom, download)}
            result = results[number or 0]
            return {
                slider: gr.ImageSlider((result.before, result.after), visible=True),
                zoom: gr.Row(visible=True),
                caption: result.caption,
                download: gr.DownloadButton(result.label, value=result.path, visible=True),
            }

        async def upscale(paths: list[str] | None, model: str, scale: float) -> Any:
            results: list[Shown] = []
            yield {
                go: gr.Button(visible=False),
                stop: gr.Button(visible=True),
                choice: gr.Radio(visible=False),
                shown: results,
                caption: "",
                **show([], None),
            }
            problems: list[str] = []
            async for step in work.upscale(paths or [], model, scale, problems):
                if isinstance(step, str):
                    yield {status: step}
                    continue
                results.append(step)
                options = [(each.name, number) for number, each in enumerate(results)]
                yield {
                    shown: results,
                    choice: gr.Radio(options, value=0, visible=len(results) > 1),
                    **(show(results, 0) if len(results) == 1 else {}),
                }
            yield at_rest(work.summary(problems))

        quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}
        results_parts = [choice, slider, zoom, caption, download]
        for changed in (files.change, model.change, scale.change, blocks.load):
            changed(describe, [files, model, scale], [facts, go], **quiet)
        examples.click(lambda number: [str(EXAMPLES[number])], examples, files, **quiet)
        running = go.click(
            upscale,
            [files, model, scale],
            [status, go, stop, shown, *results_parts],
            concurrency_limit=None,  # the queue of all, the service included, has its own
            **quiet,
        )
        stop.click(
            lambda: at_rest("Cancelled."), None, [status, go, stop], cancels=[running], **quiet
        )
        fit.click(None, js="() => srganZoom(false)", **quiet)
        full.click(None, js="() => srganZoom(true)", **quiet)
        choice.input(show, [shown, choice], results_parts, **quiet)
    return blocks.queue(max_size=limits.queue, api_open=False)
