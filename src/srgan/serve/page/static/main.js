// The page: puts the list, the settings and the comparison together.

import * as api from "./api.js";
import { Cards, isStale, reason, words } from "./cards.js";
import { Compare } from "./compare.js";
import { add, drop, events, online, pictures, redo, start } from "./pictures.js";
import { Settings } from "./settings.js";
import { bytes, dimensions, found, make, megapixels, photos } from "./words.js";

const $ = (selector) => document.querySelector(selector);
const compare = new Compare($("#view"), $("#handle"), $("#percent"));
const cards = new Cards($("#cards"), { pick, drop, redo });
const told = new WeakSet(); // photos whose end was announced
let settings = null;
let picked = null;
let shown = ""; // what the comparison shows
let isFirst = true; // no result has been shown yet

const settingsOf = (picture) => settings.of(picture);

function pick(picture) {
  picked = picture;
  settings.select(picked, pictures.length > 1);
  render();
  if (picture?.state === "done") scrollToResult();
}

function take(files) {
  const fresh = add([...files].filter((file) => file.size > 0 || file.type));
  if (fresh.length && (!picked || !pictures.includes(picked))) pick(fresh[0]);
  return fresh.length > 0;
}

function render() {
  const some = pictures.length > 0;
  document.body.dataset.state = some ? "work" : "empty";
  $("#work").hidden = !some;
  $("#empty").hidden = some;
  if (!pictures.includes(picked)) {
    picked = pictures[0] || null;
    settings.select(picked, pictures.length > 1);
  }
  $("#scope").hidden = pictures.length < 2;
  cards.render(pictures, picked, settingsOf);
  renderAll();
  renderStage();
  announce();
}

/** What concerns all photos: the zip, and results of earlier settings. */
function renderAll() {
  const done = pictures.filter((picture) => picture.state === "done");
  const zip = $("#all");
  zip.hidden = done.length < 2;
  if (!zip.hidden) zip.href = api.zip(done.map((picture) => picture.job.id));
  const stale = pictures.filter((picture) => isStale(picture, settingsOf));
  $("#stale").hidden = !stale.length;
  const verb = stale.length === 1 ? "was" : "were";
  $("#stale span").textContent = `${photos(stale.length)} ${verb} made with other settings.`;
  $("#stale button").onclick = () => stale.forEach(redo);
}

function renderStage() {
  const isDone = picked?.state === "done";
  $("#result").hidden = !isDone;
  $("#waiting").hidden = isDone;
  if (!isDone) {
    renderWaiting();
    return;
  }
  const { job } = picked;
  const left = $("[name=left]:checked").value;
  $("#left-tag").textContent = left === "bicubic" ? "Bicubic" : "Original";
  $("#view").classList.toggle("original", left === "original");
  const fresh = !shown.startsWith(job.id);
  if (shown !== `${job.id} ${left}`) {
    shown = `${job.id} ${left}`;
    const split = job.frames > 1 ? 0 : 50; // an animation's original stands still
    compare.show(api.preview(job.id, left), api.preview(job.id, "result"), job.size, fresh, split);
    caption(job);
  }
  if (isFirst) {
    isFirst = false;
    scrollToResult();
  }
}

function renderWaiting() {
  const box = $("#waiting");
  const failed = picked?.state === "failed";
  const key = `${picked?.key} ${failed}`;
  if (box.dataset.key !== key && picked) {
    box.dataset.key = key;
    box.className = failed ? "waiting failed" : "waiting";
    const image = picked.url || (picked.job ? api.preview(picked.job.id, "original") : "");
    box.replaceChildren(
      image ? make("img", { src: image, alt: "", onerror: (event) => event.target.remove() }) : "",
      make("div", {}, make("b", {}, picked.name), make("p", {}), failed ? "" : make("progress", { max: 1, "aria-label": "Progress" })),
    );
  }
  shown = "";
  if (!picked) return;
  box.querySelector("p").textContent = failed ? reason(picked) : words(picked, false);
  const bar = box.querySelector("progress");
  if (picked.state === "running") bar.value = picked.job.progress;
  else bar?.removeAttribute("value");
}

function caption(job) {
  const facts = [
    ["Model", job.model],
    ["Chosen because", job.why],
    ["Original", `${dimensions(job.source_size)}, ${megapixels(job.source_size)}`],
    ["Result", `${dimensions(job.size)}, ${megapixels(job.size)}, ${bytes(job.bytes)}`],
    ...(job.frames > 1 ? [["Frames", job.frames]] : []),
  ];
  const ordered = new URLSearchParams(picked.made || "").get("model") || settings.first;
  $("#caption").replaceChildren(
    make("p", {}, make("b", {}, job.name), ` ${dimensions(job.source_size)} → ${dimensions(job.size)}. ${found(job, ordered)}`),
    ...job.notes.map((note) => make("p", { class: "note" }, note)),
    make("details", {}, make("summary", {}, "Figures"),
      make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))),
  );
  const download = $("#download");
  download.href = api.result(job.id);
  download.querySelector("span").textContent = `Download (${bytes(job.bytes)})`;
  download.setAttribute("aria-label", `Download ${job.name}, ${bytes(job.bytes)}`);
}

/** On phones the result is below the list. */
function scrollToResult() {
  if (!matchMedia("(max-width: 60rem)").matches) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  requestAnimationFrame(() => $("#stage").scrollIntoView({ behavior: calm ? "auto" : "smooth" }));
}

function announce() {
  for (const picture of pictures) {
    if (!picture.isEnded) told.delete(picture);
    else if (!told.has(picture)) {
      told.add(picture);
      const done = picture.state === "done";
      $("#said").textContent = `${picture.name} ${done ? "is done" : `failed: ${picture.problem}`}`;
    }
  }
}

function listen() {
  events.addEventListener("change", render);
  events.addEventListener("connection", () => {
    const box = $("#offline");
    box.hidden = online;
    box.textContent = online ? "" : "The server does not answer. Your photos wait; trying again …";
  });
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => $("#files").click());
  }
  $("#files").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same photo can be chosen again
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", async () => {
      const name = `${button.dataset.example}.jpg`;
      const blob = await (await fetch(`static/examples/${name}`)).blob();
      take([new File([blob], name, { type: blob.type })]);
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length && take(event.clipboardData.files)) event.preventDefault();
  });
  listenToDrops();
  for (const radio of document.querySelectorAll("[name=left]")) radio.addEventListener("change", renderStage);
  $("#smaller").addEventListener("click", () => compare.farther());
  $("#larger").addEventListener("click", () => compare.closer());
  $("#fit").addEventListener("click", () => compare.fit());
  $("#full").addEventListener("click", () => compare.full());
}

function listenToDrops() {
  let depth = 0; // of nested elements that the files have entered
  const mark = (change) => {
    depth = change ? Math.max(depth + change, 0) : 0;
    document.body.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", () => mark(1));
  document.addEventListener("dragleave", () => mark(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // the browser would leave the page for the photo
    mark(0);
    take(event.dataTransfer.files);
  });
}

async function open() {
  try {
    const [limits, models] = await Promise.all([api.about(), api.models()]);
    $("#here").hidden = !limits.here;
    settings = new Settings($("#settings"), models, limits.formats, render);
    if (matchMedia("(max-width: 60rem)").matches) $("#settings details").open = false;
    listen();
    await start(settingsOf, limits);
    document.body.dataset.ready = "true";
  } catch (error) {
    $("#offline").hidden = false;
    $("#offline").textContent = `The server does not answer (${error.message}). Trying again …`;
    setTimeout(open, 2000);
  }
}

open();
