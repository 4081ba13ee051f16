// The list of photos: sends them, follows their jobs, and survives a reload of the page.

import * as api from "./api.js";

const SENDING_AT_ONCE = 2;
const JOBS_AT_ONCE = 12; // others may use the server, too
const ASK_MS = 400; // between two questions about running jobs
const REST_MS = 10_000; // between two while nothing runs: does the server still answer?
const STORE = "srgan";

/** @type {Array<Picture>} */
export const pictures = [];
export const events = new EventTarget(); // "change" and "connection"
export let online = true;
let timer = 0;
let pausedUntil = 0;

const changed = () => {
  save();
  events.dispatchEvent(new Event("change"));
};

class Picture {
  constructor(name, file = null) {
    this.file = file; // null after a reload of the page
    this.name = name;
    this.url = file && URL.createObjectURL(file);
    this.state = "waiting"; // sending, queued, running, done, failed
    this.job = null; // the server's status
    this.own = null; // settings of its own
    this.made = null; // the settings of its job
    this.key = api.newKey();
    this.sent = 0;
    this.problem = "";
  }

  get isOpen() {
    return ["sending", "queued", "running"].includes(this.state);
  }

  get isEnded() {
    return this.state === "done" || this.state === "failed";
  }
}

/** Settings as the query of a request, in an order that makes equal ones equal. */
export function order(settings) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) if (value !== "") query.set(name, value);
  query.sort();
  return query.toString();
}

let settingsOf = () => ({});

/** Start: with the photos of this tab before its reload, if there are any. */
export async function start(getSettings, limits) {
  settingsOf = getSettings;
  Picture.most = limits.max_bytes;
  for (const kept of load()) {
    const picture = Object.assign(new Picture(kept.name), kept);
    picture.state = picture.job ? "queued" : "failed";
    if (!picture.job) picture.problem = "The page was reloaded before it was sent: add it again.";
    pictures.push(picture);
  }
  changed();
  ask();
}

export function add(files) {
  const fresh = [...files].map((file) => new Picture(file.name || "pasted.png", file));
  for (const picture of fresh) {
    if (picture.file.size > Picture.most) {
      fail(picture, `It has more than the ${Math.round(Picture.most / 1e6)} MB that fit.`);
    }
  }
  pictures.push(...fresh);
  changed();
  work();
  return fresh;
}

/** Cancel a photo, or take it off the list; its result goes, too. */
export function drop(picture) {
  pictures.splice(pictures.indexOf(picture), 1);
  picture.abort?.abort(new Error("cancelled"));
  if (picture.url) URL.revokeObjectURL(picture.url);
  if (picture.job) forget(picture.job.id);
  changed();
  work();
}

/** Upscale a photo again, with the settings of now. */
export async function redo(picture) {
  const before = picture.job;
  picture.key = api.newKey();
  picture.problem = "";
  if (!before || (picture.file && picture.state === "failed")) {
    if (before) forget(before.id);
    picture.job = null;
    picture.state = "waiting";
    changed();
    return work();
  }
  picture.state = "waiting";
  picture.again = before.id;
  changed();
  return work();
}

const forget = (id) => api.remove(id).catch(() => {}); // it may be gone already

function fail(picture, problem) {
  picture.state = "failed";
  picture.problem = problem;
}

/** Send what waits, as much as the server takes. */
function work() {
  const open = pictures.filter((picture) => picture.isOpen).length;
  const sending = pictures.filter((picture) => picture.state === "sending").length;
  if (Date.now() < pausedUntil || !online) return ask();
  const free = Math.min(SENDING_AT_ONCE - sending, JOBS_AT_ONCE - open);
  const waiting = pictures.filter((picture) => picture.state === "waiting");
  waiting.slice(0, Math.max(free, 0)).forEach(send);
  return ask();
}

async function send(picture) {
  picture.state = "sending";
  picture.sent = 0;
  const settings = settingsOf(picture);
  picture.made = order(settings);
  changed();
  try {
    picture.job = picture.again
      ? await api.again(picture.again, order(settings))
      : await upload(picture, { ...settings, name: picture.name });
    if (picture.again) forget(picture.again);
    picture.again = null;
    picture.state = "queued";
    if (!pictures.includes(picture)) forget(picture.job.id); // cancelled meanwhile
  } catch (error) {
    notSent(picture, error);
  }
  changed();
  work();
}

function upload(picture, settings) {
  picture.abort = new AbortController();
  const progress = (fraction) => {
    picture.sent = fraction;
    events.dispatchEvent(new Event("change"));
  };
  return api.send(picture.file, order(settings), picture.key, progress, picture.abort.signal);
}

function notSent(picture, error) {
  if (error instanceof api.Unreachable) {
    picture.state = "waiting";
    setOnline(false);
  } else if (error.retry) {
    picture.state = "waiting";
    pausedUntil = Date.now() + 1000 * error.retry;
  } else if (picture.again && [404, 410].includes(error.status) && picture.file) {
    picture.again = picture.job = null;
    picture.state = "waiting";
  } else {
    picture.again = null; // the job before stays, to start from
    fail(picture, error.message);
  }
}

function setOnline(now) {
  if (online === now) return;
  online = now;
  events.dispatchEvent(new Event("connection"));
}

/** Ask for the state of all jobs; again soon while some are open. */
function ask() {
  clearTimeout(timer);
  const busy = pictures.some((picture) => picture.isOpen || picture.state === "waiting");
  timer = setTimeout(follow, busy && online ? ASK_MS : online ? REST_MS : 2000);
}

async function follow() {
  const open = pictures.filter((p) => p.job && ["queued", "running"].includes(p.state));
  try {
    if (open.length) take(open, await api.statuses(open.map((picture) => picture.job.id)));
    else await api.about();
    setOnline(true);
  } catch (error) {
    if (error instanceof api.Unreachable) setOnline(false);
  }
  work();
}

function take(asked, statuses) {
  const byId = new Map(statuses.map((status) => [status.id, status]));
  for (const picture of asked) {
    const status = byId.get(picture.job.id);
    if (!pictures.includes(picture) || picture.state === "waiting") continue;
    if (!status || status.status === "expired") {
      fail(picture, "Its result is no longer kept.");
      if (!picture.file) picture.job = null;
      continue;
    }
    picture.job = status;
    picture.state = status.status;
    if (status.status === "failed") picture.problem = status.problem?.detail || "It failed.";
  }
  changed();
}

function save() {
  const kept = pictures.map(({ name, own, made, job, key }) => ({ name, own, made, job, key }));
  try {
    sessionStorage.setItem(STORE, JSON.stringify(kept));
  } catch {
    // full or forbidden: the page works without
  }
}

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) || [];
  } catch {
    return [];
  }
}
