// The photos as cards: what each is, how far it is, and what can be done with it.

import * as api from "./api.js";
import { order } from "./pictures.js";
import { bytes, dimensions, duration, icon, make } from "./words.js";

const NONE = "static/none.svg";
const TRIES = 4; // to load a thumbnail that the server is too busy to draw

/** Keeps the list's elements, so that focus and images stay, and changes what has changed. */
export class Cards {
  constructor(list, actions) {
    this.list = list;
    this.actions = actions; // pick, drop, redo
    this.known = new Map();
  }

  render(pictures, picked, settingsOf) {
    for (const [picture, card] of this.known) {
      if (!pictures.includes(picture)) {
        this.list.children.length > 1 && card.item.contains(document.activeElement) && this.list.querySelector(".pick").focus();
        card.item.remove();
        this.known.delete(picture);
      }
    }
    for (const picture of pictures) {
      if (!this.known.has(picture)) this.known.set(picture, this.create(picture));
      this.update(this.known.get(picture), picture, picture === picked, isStale(picture, settingsOf));
    }
  }

  create(picture) {
    const button = (name, symbol, act) =>
      make("button", { type: "button", class: "icon", "aria-label": `${name} ${picture.name}`, title: name, onclick: act }, icon(symbol));
    const card = {
      thumbnail: make("img", { alt: "", width: 64, height: 64 }),
      state: make("span", { class: "state" }),
      bar: make("progress", { max: 1, "aria-label": `Progress of ${picture.name}` }),
      redo: button("Redo", "again", () => this.actions.redo(picture)),
      download: make("a", { class: "icon", download: true, "aria-label": `Download ${picture.name}`, title: "Download" }, icon("down")),
      drop: button("Remove", "cross", () => this.actions.drop(picture)),
      tries: 0,
    };
    card.thumbnail.onerror = () => this.loadLater(card, picture);
    card.thumbnail.src = picture.url || NONE;
    card.pick = make("button", { type: "button", class: "pick", onclick: () => this.actions.pick(picture) },
      card.thumbnail, make("span", { class: "text" }, make("b", {}, picture.name), card.state));
    card.item = make("li", {}, card.pick, make("span", { class: "buttons" }, card.redo, card.download, card.drop), card.bar);
    this.list.append(card.item);
    return card;
  }

  /** Ask the server for the thumbnail: browsers cannot show TIFF, and a reload forgets files. */
  loadLater(card, picture) {
    card.thumbnail.src = NONE;
    card.failed = true;
    if (!picture.job || card.tries >= TRIES) return;
    card.tries += 1;
    setTimeout(() => (card.thumbnail.src = api.preview(picture.job.id, "thumbnail")), 700 * card.tries);
  }

  update(card, picture, isPicked, stale) {
    card.item.className = picture.state + (stale ? " stale" : "");
    card.pick.setAttribute("aria-pressed", isPicked);
    if (picture.job && (card.failed || !picture.url) && !card.tries) {
      card.tries += 1;
      card.thumbnail.src = api.preview(picture.job.id, "thumbnail");
    }
    const text = words(picture, stale);
    if (card.state.textContent !== text) card.state.textContent = text;
    card.bar.hidden = !picture.isOpen;
    const fraction = picture.state === "sending" ? picture.sent : picture.job?.progress || 0;
    if (picture.state === "queued") card.bar.removeAttribute("value");
    else card.bar.value = fraction;
    card.redo.hidden = !(picture.isEnded && (stale || picture.state === "failed") && (picture.job || picture.file));
    card.download.hidden = picture.state !== "done";
    if (picture.job) card.download.href = api.result(picture.job.id);
    const verb = picture.isEnded ? "Remove" : "Cancel";
    card.drop.title = verb;
    card.drop.setAttribute("aria-label", `${verb} ${picture.name}`);
  }
}

/** Whether a result was made with other settings than those of now. */
export const isStale = (picture, settingsOf) =>
  picture.state === "done" && picture.made !== order(settingsOf(picture));

/** How far a photo is, in words. */
export function words(picture, stale) {
  const { job } = picture;
  switch (picture.state) {
    case "waiting":
      return "Waiting to be sent";
    case "sending":
      return picture.again ? "Starting" : `Sending, ${Math.round(100 * picture.sent)} %`;
    case "queued":
      return job.position ? `Number ${job.position + 1} in the queue` : "Starting";
    case "running": {
      const left = job.seconds_left ? `, ${duration(job.seconds_left)} left` : "";
      return `${Math.round(100 * job.progress)} %${left}`;
    }
    case "done":
      return stale ? "Made with other settings" : `${dimensions(job.size)}, ${bytes(job.bytes)}`;
    default:
      return reason(picture);
  }
}

/** Why a photo failed, without its name, which stands beside it. */
export function reason({ name, problem }) {
  const text = problem.startsWith(`${name}: `) ? problem.slice(name.length + 2) : problem;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
