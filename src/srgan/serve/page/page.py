"""The web page: pictures in, and beside each its larger self, on gradio."""

from pathlib import Path
from typing import Any

from srgan.pictures.images import PICTURE_SUFFIXES
from srgan.serve.jobs import Cancelled, JobQueue
from srgan.serve.kitchen import Kitchen
from srgan.serve.options import Limits
from srgan.serve.page.gradio_import import import_gradio
from srgan.serve.page.guard import PageGuard
from srgan.serve.page.work import PageWork, Shown

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
    with gr.Blocks(
        title="srgan",
        analytics_enabled=False,
        delete_cache=(SWEEP_SECONDS, int(limits.keep_seconds)),
    ) as blocks:
        gr.HTML(HEADER, padding=False, elem_id="header")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                wishes = _Wishes(gr, kitchen)
            with gr.Column(scale=3, min_width=300):
                outcome = _Outcome(gr)
        gr.HTML(FOOTER, padding=False, elem_id="footer")
        _wire(gr, blocks, work, wishes, outcome)
    return blocks.queue(max_size=limits.queue, api_open=False)


class _Wishes:
    """The left column: which pictures, and what is to become of them."""

    def __init__(self, gr: Any, kitchen: Kitchen) -> None:
        names = kitchen.models.names
        self.files = gr.File(
            label="Pictures",
            file_count="multiple",
            file_types=sorted(PICTURE_SUFFIXES),
            height=180,
            elem_id="pictures",
        )
        self.facts = gr.HTML(padding=False, elem_id="facts")
        self.examples = gr.Dataset(
            label="Or one of these",
            components=[gr.Image(render=False)],
            samples=[[str(path)] for path in EXAMPLES],
            type="index",
            elem_id="examples",
        )
        self.model = gr.Dropdown(names, value=names[0], label="Model", elem_id="model")
        self.scale = gr.Radio(
            [(f"{factor}x", factor) for factor in SCALES],
            value=kitchen.models[names[0]].scale,
            label="Scale",
            info="1x keeps the size and sharpens",
            elem_id="scale",
        )
        with gr.Row():
            self.go = gr.Button("Upscale", variant="primary", interactive=False, elem_id="go")
            self.stop = gr.Button("Cancel", variant="stop", visible=False, elem_id="stop")


class _Outcome:
    """The right column: how far it is, and the results to compare and download."""

    def __init__(self, gr: Any) -> None:
        self._gr = gr
        self.shown = gr.State([])
        self.status = gr.HTML(HINT, padding=False, elem_id="status")
        self.choice = gr.Radio([], label="Result", visible=False, elem_id="choice")
        self.slider = gr.ImageSlider(
            label="Bicubic on the left, srgan on the right",
            format="png",
            interactive=False,
            buttons=["fullscreen"],
            max_height=600,
            visible=False,
            elem_id="slider",
        )
        with gr.Row(visible=False, elem_id="zoom") as self.zoom:
            self.fit = gr.Button("Whole picture", size="sm", min_width=80)
            self.full = gr.Button("100 %", size="sm", min_width=80)
        self.caption = gr.HTML(padding=False, elem_id="caption")
        self.download = gr.DownloadButton(
            "Download", variant="primary", visible=False, elem_id="download"
        )

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.slider, self.zoom, self.caption, self.download]

    def show(self, results: list[Shown], number: int | None) -> dict[Any, Any]:
        """One of the results; nothing where there is none."""
        gr = self._gr
        if not results:
            hidden = {part: gr.update(visible=False) for part in self.parts}
            return hidden | {self.caption: ""}
        result = results[number or 0]
        return {
            self.slider: gr.ImageSlider((result.before, result.after), visible=True),
            self.zoom: gr.Row(visible=True),
            self.caption: result.caption,
            self.download: gr.DownloadButton(result.label, value=result.path, visible=True),
        }


def _wire(gr: Any, blocks: Any, work: PageWork, wishes: _Wishes, outcome: _Outcome) -> None:
    """What happens when."""
    from gradio import Request  # not sooner: see import_gradio

    chosen = [wishes.files, wishes.model, wishes.scale]

    def describe(paths: list[str] | None, model: str, scale: float) -> dict[Any, Any]:
        text, possible = work.describe(paths or [], model, scale)
        return {wishes.facts: text, wishes.go: gr.Button(interactive=possible)}

    def at_rest(message: str) -> dict[Any, Any]:
        go, stop = gr.Button(visible=True), gr.Button(visible=False)
        return {outcome.status: message, wishes.go: go, wishes.stop: stop}

    async def upscale(paths: list[str] | None, model: str, scale: float, request: Request) -> Any:
        visit, results = str(request.session_hash), list[Shown]()
        yield {
            wishes.go: gr.Button(visible=False),
            wishes.stop: gr.Button(visible=True),
            outcome.choice: gr.Radio(visible=False),
            outcome.shown: results,
            **outcome.show(results, None),
        }
        problems: list[str] = []
        try:
            async for step in work.upscale(visit, paths or [], model, scale, problems):
                if isinstance(step, str):
                    yield {outcome.status: step}
                    continue
                results.append(step)
                options = [(each.name, number) for number, each in enumerate(results)]
                yield {
                    outcome.shown: results,
                    outcome.choice: gr.Radio(options, value=0, visible=len(results) > 1),
                    **(outcome.show(results, 0) if len(results) == 1 else {}),
                }
        except Cancelled:
            yield at_rest("Cancelled.")
        else:
            yield at_rest(work.summary(problems))

    def cancel(request: Request) -> None:
        work.cancel(str(request.session_hash))

    quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}
    for changed in (*(each.change for each in chosen), blocks.load):
        changed(describe, chosen, [wishes.facts, wishes.go], **quiet)
    wishes.examples.click(
        lambda number: [str(EXAMPLES[number])], wishes.examples, wishes.files, **quiet
    )
    wishes.go.click(
        upscale,
        chosen,
        [outcome.status, wishes.go, wishes.stop, outcome.shown, outcome.choice, *outcome.parts],
        concurrency_limit=None,  # the queue of all, the service included, has its own
        **quiet,
    )
    # Not gradio's `cancels`: a message on progress may come after it, and would stay.
    wishes.stop.click(cancel, queue=False, **quiet)
    outcome.fit.click(None, js="() => srganZoom(false)", **quiet)
    outcome.full.click(None, js="() => srganZoom(true)", **quiet)
    outcome.choice.input(outcome.show, [outcome.shown, outcome.choice], outcome.parts, **quiet)
