"""An evaluation as one self-contained HTML page: nothing is loaded from anywhere."""

import base64
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from srgan.evaluation.files import write_text
from srgan.evaluation.results import Evaluation, Example
from srgan.evaluation.scatter import Point, escaped, partial, scatter
from srgan.evaluation.tables import (
    Row,
    direction_of,
    mean_rows,
    picture_rows,
    printable,
    problem_line,
    protocol_of,
    shown_value,
    title_of,
)

ROW = 4  # crops beside each other on the page, 3 times enlarged; of more, 2 times
STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#59636e;--line:#d4d9df;--faint:#eef1f4;
--accent:#0b62c4}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e7eb;--soft:#9aa4af;--line:#363d46;
--faint:#20252b;--accent:#6cb0ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:76.75rem;background:var(--bg);
color:var(--fg);font:1rem/1.55 system-ui,sans-serif}
h1{font-size:clamp(1.5rem,4.5vw,2.1rem);line-height:1.2;margin:0 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:3rem 0 1rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.75rem 0 .6rem;overflow-wrap:anywhere}
p,ul,dl{max-width:46rem}
.lead,.note,figcaption span,caption span{color:var(--soft)}
.note{font-size:.875rem}
.scroll{overflow-x:auto;margin:0 0 1.75rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:min(100%,34rem)}
caption{text-align:left;font-weight:600;padding-bottom:.4rem;white-space:nowrap}
caption span{font-weight:400}
th,td{padding:.35rem .8rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
thead th{font-size:.875rem;font-weight:600;color:var(--soft);border-bottom:2px solid var(--line)}
th:first-child,tbody th{text-align:left}
tbody th{font-weight:400;white-space:normal;min-width:6.5rem;overflow-wrap:anywhere}
tr>:first-child{padding-left:0;position:sticky;left:0;background:var(--bg)}
@media(max-width:32rem){table{font-size:.875rem}th,td{padding:.35rem .4rem}}
td strong{color:var(--accent)}
details{margin:-.75rem 0 2rem}
summary{cursor:pointer;color:var(--accent)}
details .scroll{margin-top:.75rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.5rem}
figure{margin:0}
.plots svg{display:block;width:100%;max-width:34rem;height:auto}
svg text{fill:var(--fg);font:13px system-ui,sans-serif}
svg .tick{fill:var(--soft);font-size:12px}
svg .grid{stroke:var(--faint)}
svg .axis{stroke:var(--soft)}
svg circle{fill:var(--accent)}
svg circle.bicubic{fill:var(--bg);stroke:var(--soft);stroke-width:2}
.crops{display:flex;flex-wrap:wrap;gap:1rem .75rem}
.crops figure{max-width:calc(50% - .375rem)}
.crops img{display:block;width:100%;height:auto;image-rendering:pixelated;
background:var(--faint)}
figcaption{font-size:.875rem;line-height:1.4;margin-top:.35rem;overflow-wrap:anywhere;
font-variant-numeric:tabular-nums}
figcaption span{display:block}
dt{font-weight:600;margin-top:.8rem}
dd{margin:0;overflow-wrap:anywhere}
code{font:.875em ui-monospace,monospace;overflow-wrap:anywhere}
li{overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.25rem 1.25rem;
font-size:.875rem}
.facts dt{margin:0}
"""


def write_report(
    evaluation: Evaluation,
    path: Path,
    title: str,
    facts: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> None:
    """Write tables, scatter plots, examples and protocols as one HTML page.

    Args:
        facts: what it was computed with, by name: versions, processor, command line.
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    parts = [
        f"<h1>{escaped(title)}</h1>",
        f'<p class="lead">{_lead(evaluation)}</p>',
        _section("Figures", _tables(evaluation)),
        _section("Perception against distortion", _plots(evaluation)),
        _section("Examples", _examples(evaluation)),
        _section("Protocols", _protocols(evaluation)),
        _section("Problems", _problems(evaluation)),
        _section("How it was made", _facts(facts)),
    ]
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escaped(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(parts)}
</main>
</body>
</html>
"""
    write_text(path, page, overwrite=overwrite)


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{body}\n</section>\n" if body else ""


def _lead(evaluation: Evaluation) -> str:
    pictures = {(score.set, score.picture) for score in evaluation.results}
    sets = ", ".join(evaluation.sets) or "no set"
    methods = ", ".join(evaluation.methods)
    count = f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"
    return escaped(f"{methods}: SR compared with HR on {count} of {sets}.")


def _tables(evaluation: Evaluation) -> str:
    if not evaluation.results:
        return "<p>No picture was evaluated; see the problems.</p>"
    note = (
        '<p class="note">Means over the pictures of a set; the best of a column is bold. A mean '
        "over fewer pictures than another's is not compared.</p>"
    )
    return note + "".join(_set_tables(evaluation, set) for set in evaluation.sets)


def _set_tables(evaluation: Evaluation, set: str) -> str:
    rows = [
        f"<tr>{_row_heading(row.method)}{_cells(row)}<td>{row.pictures}</td></tr>"
        for row in mean_rows(evaluation, set)
    ]
    means = _table(set, "mean", [*_headings(evaluation, ["method"]), _heading("pictures")], rows)
    pictures = [
        f"<tr>{_row_heading(picture)}<td>{escaped(row.method)}</td>{_cells(row)}</tr>"
        for picture, rows_of_picture in picture_rows(evaluation, set).items()
        for row in rows_of_picture
    ]
    if not pictures:
        return means
    table = _table(set, "each picture", _headings(evaluation, ["picture", "method"]), pictures)
    return f"{means}<details><summary>{escaped(set)}, each picture</summary>{table}</details>\n"


def _table(set: str, what: str, headings: Sequence[str], rows: Sequence[str]) -> str:
    body = "\n".join(rows)
    label = html.escape(f"{printable(set)}, {what}")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">\n<table>\n'
        f"<caption>{escaped(set)} <span>{what}</span></caption>\n"
        f"<thead><tr>{''.join(headings)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _heading(text: str) -> str:
    return f'<th scope="col">{escaped(text)}</th>'


def _headings(evaluation: Evaluation, first: Sequence[str]) -> list[str]:
    headings = [_heading(text) for text in first]
    for name in evaluation.metrics:
        arrow = {"higher is better": " ↑", "lower is better": " ↓"}.get(direction_of(name), "")
        sign = f'<span role="img" aria-label="{direction_of(name)}">{arrow}</span>' if arrow else ""
        headings.append(f'<th scope="col">{escaped(title_of(name))}{sign}</th>')
    return headings


def _row_heading(text: str) -> str:
    return f'<th scope="row">{escaped(text)}</th>'


def _cells(row: Row) -> str:
    cells = zip(row.cells, row.best, strict=True)
    return "".join(f"<td>{f'<strong>{c}</strong>' if best else c}</td>" for c, best in cells)


def _plots(evaluation: Evaluation) -> str:
    """PSNR-Y against LPIPS, a plot a set; nothing where either was not computed."""
    lpips = next((name for name in evaluation.metrics if name.startswith("lpips")), None)
    if lpips is None or "psnr_y" not in evaluation.metrics:
        return ""
    plots = []
    for set in evaluation.sets:
        means = {m: evaluation.means(set, m) for m in evaluation.methods}
        most = max(len(evaluation.select(set, method)) for method in evaluation.methods)
        points = [
            Point(partial(method, len(evaluation.select(set, method)), most), v["psnr_y"], v[lpips])
            for method, v in means.items()
            if v
        ]
        points = [point for point in points if math.isfinite(point.x + point.y)]
        if points:
            plots.append(f"<figure><h3>{escaped(set)}</h3>{scatter(set, points, lpips)}</figure>")
    if not plots:
        return ""
    note = (
        '<p class="note">The best is at the lower right. What is trained for PSNR alone tends to '
        "the upper right, what is trained to look real to the lower left.</p>"
    )
    return f'{note}<div class="plots">\n{"".join(plots)}\n</div>'


def _examples(evaluation: Evaluation) -> str:
    if not evaluation.examples:
        return ""
    note = (
        '<p class="note">Parts of pictures, enlarged without smoothing; the figures are those of '
        "the whole picture.</p>"
    )
    return note + "".join(_example(evaluation, example) for example in evaluation.examples)


def _example(evaluation: Evaluation, example: Example) -> str:
    figures = {
        score.method: score.values
        for score in evaluation.results
        if (score.set, score.picture) == (example.set, example.picture)
    }
    zoom = 3 if len(example.crops) <= ROW else 2
    crops = []
    for method, crop in example.crops.items():
        lines = [
            f"<span>{escaped(title_of(n))} {shown_value(n, v)}</span>"
            for n, v in figures.get(method, {}).items()
        ]
        alt = html.escape(printable(f"{example.picture}, a part of it: {method}"))
        width, height = crop.shape[1] * zoom, crop.shape[0] * zoom
        crops.append(
            f'<figure style="width:{width}px"><img src="data:image/png;base64,{_png(crop)}" '
            f'alt="{alt}" width="{width}" height="{height}">'
            f"<figcaption><strong>{escaped(method)}</strong>{''.join(lines)}</figcaption></figure>"
        )
    heading = f"<h3>{escaped(example.set)}, {escaped(example.picture)}</h3>"
    return f'{heading}\n<div class="crops">{"".join(crops)}</div>\n'


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _protocols(evaluation: Evaluation) -> str:
    entries = []
    for name in evaluation.metrics:
        # `scale` in backticks is code.
        protocol = re.sub(r"`(\w+)`", r"<code>\1</code>", escaped(protocol_of(name)))
        direction = f"; {direction_of(name)}" if direction_of(name) else ""
        entries.append(f"<dt>{escaped(title_of(name))}</dt><dd>{protocol}{direction}.</dd>")
    for name, remedy in evaluation.unavailable.items():
        reason = escaped(" ".join(remedy.split()))
        entries.append(f"<dt>{escaped(title_of(name))}</dt><dd>Not computed: {reason}</dd>")
    return f"<dl>{''.join(entries)}</dl>" if entries else ""


def _problems(evaluation: Evaluation) -> str:
    if not evaluation.problems:
        return "<p>None: every picture counts.</p>" if evaluation.results else ""
    lines = [f"<li>{escaped(problem_line(problem))}</li>" for problem in evaluation.problems]
    return f"<p>These pictures do not count:</p>\n<ul>{''.join(lines)}</ul>"


def _facts(facts: Mapping[str, str]) -> str:
    entries = [f"<dt>{escaped(n)}</dt><dd><code>{escaped(v)}</code></dd>" for n, v in facts.items()]
    return f'<dl class="facts">{"".join(entries)}</dl>' if entries else ""
