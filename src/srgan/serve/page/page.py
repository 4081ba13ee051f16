"""The web page, built with gradio: pictures in, each beside its upscaled version out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
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
HINT = "<p class=hint>Drop, paste or choose pictures. The results appear here.</p>"
FOOTER = '<a href="docs">The same as an HTTP service</a>'
SWEEP_SECONDS = 60


def make_page(kitchen: Kitchen, queue: JobQueue, limits: Limits, folder: Path) -> Any:
    """Make the page, an ASGI application.

    Args:
        folder: for uploads to the page.
    """
    folder.mkdir()
    gr = import_gradio(folder)
    gr.set_static_paths([kitchen.folder])  # served without a copy in gradio's cache
    from fastapi import FastAPI

    blocks = _build(gr, PageWork(kitchen, queue, limits), kitchen, limits)
    # gradio shall run no node server and no MCP, and keep nothing in the browser.
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
    blocks.has_launched = blocks.is_running = True  # otherwise gradio checks no paths
    return PageGuard(app, folder, limits)


def _theme(gr: Any) -> Any:
    """The default theme with the visitor's system fonts: its own come from Google."""
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
    """The left column: the pictures, and how to upscale them."""

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
    """The right column: the progress, and the results to compare and download."""

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
        """The parts that `show` changes."""
        return [self.slider, self.zoom, self.caption, self.download]

    def show(self, results: list[Shown], number: int | None) -> dict[Any, Any]:
        """Show one of the results; hide the parts if there is none."""
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


class _Actions:
    """The functions that events of the page call. Their results name the parts that change."""

    def __init__(self, gr: Any, work: PageWork, wishes: _Wishes, outcome: _Outcome) -> None:
        self._gr, self._work, self._wishes, self._outcome = gr, work, wishes, outcome

    def describe(self, paths: list[str] | None, model: str, scale: float) -> dict[Any, Any]:
        text, possible = self._work.describe(paths or [], model, scale)
        return {self._wishes.facts: text, self._wishes.go: self._gr.Button(interactive=possible)}

    async def upscale(
        self, paths: list[str] | None, model: str, scale: float, visit: str
    ) -> AsyncGenerator[dict[Any, Any], None]:
        gr, wishes, outcome = self._gr, self._wishes, self._outcome
        results: list[Shown] = []
        problems: list[str] = []
        yield {
            wishes.go: gr.Button(visible=False),
            wishes.stop: gr.Button(visible=True),
            outcome.choice: gr.Radio(visible=False),
            outcome.shown: results,
            **outcome.show(results, None),
        }
        try:
            async for step in self._work.upscale(visit, paths or [], model, scale, problems):
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
            yield self._at_rest("Cancelled.")
        else:
            yield self._at_rest(self._work.summary(problems))

    def _at_rest(self, message: str) -> dict[Any, Any]:
        gr, wishes = self._gr, self._wishes
        return {
            self._outcome.status: message,
            wishes.go: gr.Button(visible=True),
            wishes.stop: gr.Button(visible=False),
        }


def _wire(gr: Any, blocks: Any, work: PageWork, wishes: _Wishes, outcome: _Outcome) -> None:
    """Connect the page's events to `_Actions`."""
    from gradio import Request  # not sooner: see import_gradio

    actions = _Actions(gr, work, wishes, outcome)

    # gradio passes the request to parameters that are annotated with its class.
    async def upscale(paths: list[str] | None, model: str, scale: float, request: Request) -> Any:
        visit = str(request.session_hash)
        async with aclosing(actions.upscale(paths, model, scale, visit)) as changes:
            async for change in changes:
                yield change

    def cancel(request: Request) -> None:
        work.cancel(str(request.session_hash))

    def example(number: int) -> list[str]:
        return [str(EXAMPLES[number])]

    chosen = [wishes.files, wishes.model, wishes.scale]
    quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}
    for changed in (*(each.change for each in chosen), blocks.load):
        changed(actions.describe, chosen, [wishes.facts, wishes.go], **quiet)
    wishes.examples.click(example, wishes.examples, wishes.files, **quiet)
    wishes.go.click(
        upscale,
        chosen,
        [outcome.status, wishes.go, wishes.stop, outcome.shown, outcome.choice, *outcome.parts],
        concurrency_limit=None,  # the job queue has its own limit, for all clients
        **quiet,
    )
    # Not gradio's `cancels`: a message on progress may come after it, and would stay.
    wishes.stop.click(cancel, queue=False, **quiet)
    outcome.fit.click(None, js="() => srganZoom(false)", **quiet)
    outcome.full.click(None, js="() => srganZoom(true)", **quiet)
    outcome.choice.input(outcome.show, [outcome.shown, outcome.choice], outcome.parts, **quiet)
