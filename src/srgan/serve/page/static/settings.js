// The settings: for all photos, or for the one that is shown.

import { isRare, make, purpose, title } from "./words.js";

const LOSSY = ["jpeg", "webp", "avif"];
const NAMES = { jpeg: "JPEG", png: "PNG", webp: "WebP", tiff: "TIFF", avif: "AVIF" };
const QUALITY = { jpeg: 95, webp: 90, avif: 90 }; // the service's own
const STORE = "srgan-settings";

export class Settings {
  /** @param {() => void} changed is called after each change by the person. */
  constructor(root, models, formats, changed) {
    this.root = root;
    this.models = models;
    this.changed = changed;
    this.first = models.find((model) => model.default).name;
    this.all = this.restore();
    this.picture = null;
    this.part = (name) => root.querySelector(`#${name}`);
    this.build(formats);
    this.render();
  }

  /** The settings of a photo: its own, or those of all. "" is the service's default. */
  of(picture) {
    return picture?.own || this.all;
  }

  /** Edit the settings of this photo, if it has some of its own. */
  select(picture, several) {
    this.picture = picture;
    this.part("scope").hidden = !several;
    this.render();
  }

  build(formats) {
    const card = (model) => make("label", { class: "model" },
      make("input", { type: "radio", name: "model", value: model.name }),
      make("span", {}, make("b", {}, title(model.name)), make("small", {}, purpose(model))));
    const [usual, rare] = [false, true].map((is) => this.models.filter((m) => isRare(m.name) === is));
    const others = usual.length && rare.length
      ? [make("details", {}, make("summary", {}, "More models"), ...rare.map(card))]
      : rare.map(card);
    this.part("models").append(...usual.map(card), ...others);
    this.part("format").append(...formats.map((name) => make("option", { value: name }, NAMES[name] || name)));
    const form = this.root.querySelector("form");
    form.addEventListener("input", (event) => this.edit(event.target));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  edit(input) {
    if (input.name === "scope") {
      if (this.picture) this.picture.own = input.value === "one" ? { ...this.of(this.picture) } : null;
    } else {
      const settings = { ...this.of(this.picture), ...this.read(input) };
      if (this.picture?.own) this.picture.own = settings;
      else this.all = settings;
    }
    sessionStorage.setItem(STORE, JSON.stringify(this.all));
    this.render();
    this.changed();
  }

  /** What one input changes. */
  read(input) {
    if (input.name === "model") return { model: input.value === this.first ? "" : input.value, detail: "" };
    if (input.id === "detail") return { detail: String(input.value / 100) };
    if (input.id === "size" && input.value === "width") return { scale: "", width: this.part("width").value || "2000" };
    if (input.id === "size") return { scale: input.value, width: "" };
    if (input.id === "width") return input.checkValidity() && input.value ? { width: input.value } : {};
    if (input.id === "format") return { format: input.value, quality: "" };
    return { quality: input.value };
  }

  render() {
    const now = this.of(this.picture);
    const { root, part } = this;
    const name = now.model || this.first;
    const model = this.models.find((each) => each.name === name);
    root.querySelector(`[name=scope][value=${this.picture?.own ? "one" : "all"}]`).checked = true;
    for (const radio of root.querySelectorAll("[name=model]")) {
      radio.checked = radio.value === name;
      if (radio.checked) radio.closest("details details")?.setAttribute("open", "");
    }
    part("detail-field").hidden = model.detail === null;
    part("detail").value = 100 * (now.detail === "" ? model.detail : now.detail);
    part("detail").setAttribute("aria-valuetext", `${part("detail").value} % of the way to vivid`);
    part("size").value = now.width ? "width" : now.scale;
    part("size").querySelector('[value=""]').textContent = `${model.scale} times`;
    part("width-field").hidden = !now.width;
    if (document.activeElement !== part("width")) part("width").value = now.width;
    part("format").value = now.format;
    part("quality-field").hidden = !LOSSY.includes(now.format);
    part("quality").value = now.quality || QUALITY[now.format] || 90;
    root.querySelector("#quality-field output").value = part("quality").value;
    const size = now.width ? `${now.width} wide` : `${now.scale || model.scale}×`;
    part("brief").textContent = [title(name), size, NAMES[now.format]].filter(Boolean).join(", ");
  }

  restore() {
    const none = { model: "", detail: "", scale: "", width: "", format: "", quality: "" };
    try {
      const kept = { ...none, ...JSON.parse(sessionStorage.getItem(STORE)) };
      return this.models.some((model) => model.name === kept.model) ? kept : { ...kept, model: "" };
    } catch {
      return none;
    }
  }
}
