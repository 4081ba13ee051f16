// Before and after, one over the other: a slider between them, zoom and panning.

const MOST = 4; // device pixels for each pixel of the result
const FITTED_MOST = 2; // small results are shown larger, up to this
const STEP = 1.25;

export class Compare {
  /** @param {HTMLElement} view holds two layers of one image each, and the handle. */
  constructor(view, handle, percent) {
    Object.assign(this, { view, handle, percent });
    [this.before, this.after] = view.querySelectorAll("img");
    this.clipped = view.querySelector(".clipped");
    this.size = { width: 1, height: 1 };
    this.split = 50;
    this.pointers = new Map();
    new ResizeObserver(() => this.resized()).observe(view);
    this.listen();
  }

  /** Show two images of a result of this size, in pixels; a fresh one with the slider at `split`. */
  show(before, after, size, fresh, split) {
    this.size = size;
    if (this.before.getAttribute("src") !== before) this.before.src = before;
    if (this.after.getAttribute("src") !== after) this.after.src = after;
    if (fresh) this.setSplit(split);
    if (fresh) this.fit();
    else this.draw();
  }

  get dpr() {
    return window.devicePixelRatio || 1;
  }

  /** CSS pixels for each pixel of the result, with the whole picture in view. */
  get fitted() {
    const { clientWidth, clientHeight } = this.view;
    const whole = Math.min(clientWidth / this.size.width, clientHeight / this.size.height);
    return Math.min(whole, FITTED_MOST / this.dpr);
  }

  get isFitted() {
    return this.scale <= this.fitted * 1.001;
  }

  resized() {
    if (this.wasFitted) this.fit();
    else this.draw();
  }

  fit() {
    this.zoomTo(this.fitted);
  }

  /** Zoom so that the point of the view, its middle by default, stays where it is. */
  zoomTo(scale, x = this.view.clientWidth / 2, y = this.view.clientHeight / 2) {
    const least = Math.min(this.fitted, 1 / this.dpr);
    const next = Math.min(Math.max(scale, least), Math.max(MOST / this.dpr, least));
    const ratio = next / (this.scale || next);
    this.left = x - (x - (this.left || 0)) * ratio;
    this.top = y - (y - (this.top || 0)) * ratio;
    this.scale = next;
    this.draw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.draw();
  }

  setSplit(percent) {
    this.split = Math.min(Math.max(percent, 0), 100);
    this.handle.style.left = `${this.split}%`;
    this.clipped.style.clipPath = `inset(0 0 0 ${this.split}%)`;
    const shown = Math.round(this.split);
    this.handle.setAttribute("aria-valuenow", shown);
    this.handle.setAttribute("aria-valuetext", `${shown} % original, ${100 - shown} % result`);
  }

  draw() {
    if (!this.scale) return;
    const width = this.size.width * this.scale;
    const height = this.size.height * this.scale;
    this.left = within(this.left, width, this.view.clientWidth);
    this.top = within(this.top, height, this.view.clientHeight);
    for (const image of [this.before, this.after]) {
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.transform = `translate(${this.left}px, ${this.top}px)`;
    }
    this.view.classList.toggle("pixels", this.scale * this.dpr >= 3);
    this.wasFitted = this.isFitted;
    this.view.classList.toggle("zoomed", !this.wasFitted);
    this.percent.value = `${Math.round(this.scale * this.dpr * 100)} %`;
  }

  place(event) {
    const box = this.view.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  listen() {
    const { view } = this;
    view.addEventListener("pointerdown", (event) => this.press(event));
    view.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      view.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    view.addEventListener("dblclick", (event) => {
      const { x, y } = this.place(event);
      const closer = Math.max(1 / this.dpr, this.fitted * 2);
      this.zoomTo(this.isFitted ? closer : this.fitted, x, y);
    });
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = this.place(event);
      this.zoomTo(this.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), x, y);
    }, { passive: false });
    view.addEventListener("keydown", (event) => this.key(event));
  }

  press(event) {
    if (event.button) return;
    this.view.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    this.onHandle = this.handle.contains(event.target) || this.isFitted;
    if (this.onHandle && this.pointers.size === 1) this.slide(event);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.place(event);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const other = others[0][1];
      const middle = [(now.x + other.x) / 2, (now.y + other.y) / 2];
      this.zoomTo((this.scale * distance(now, other)) / (distance(before, other) || 1), ...middle);
    } else if (this.onHandle) this.slide(event);
    else this.pan(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }

  slide(event) {
    this.setSplit((100 * this.place(event).x) / this.view.clientWidth);
  }

  key(event) {
    const far = event.shiftKey ? 10 : 2;
    const onHandle = this.handle.contains(event.target);
    const along = {
      ArrowLeft: -far, ArrowRight: far, ArrowDown: -far, ArrowUp: far, PageDown: -10, PageUp: 10,
      Home: -100, End: 100,
    }[event.key];
    const pans = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (onHandle && along) this.setSplit(this.split + along);
    else if (pans[event.key]) this.pan(...pans[event.key].map((way) => way * 60));
    else if (event.key === "+" || event.key === "=") this.closer();
    else if (event.key === "-") this.farther();
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.full();
    else return;
    event.preventDefault();
  }

  closer() {
    this.zoomTo(this.scale * STEP);
  }

  farther() {
    this.zoomTo(this.scale / STEP);
  }

  /** One pixel of the result for each pixel of the screen. */
  full() {
    this.zoomTo(1 / this.dpr);
  }
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** A start such that the picture covers the view, or is in its middle if it is smaller. */
function within(start, length, room) {
  if (length <= room) return (room - length) / 2;
  return Math.min(Math.max(start, room - length), 0);
}
