// What gradio's parts lack: paste and drop anywhere, zoom to 100 %, a slider for the keyboard.

function srganGive(list) {
  const files = [...list].filter((file) => file.size > 0);
  const input = document.querySelector("#pictures input[type=file]");
  if (!files.length || !input) return false;
  const transfer = new DataTransfer();
  files.forEach((file) => transfer.items.add(file));
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

document.addEventListener("paste", (event) => {
  if (event.clipboardData && srganGive(event.clipboardData.files)) event.preventDefault();
});

// Beside gradio's box a drop would make the browser leave the page for the picture.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  if (event.target.closest("#pictures")) return;
  event.preventDefault();
  srganGive(event.dataTransfer.files);
});

// gradio zooms by 5 % a turn of the wheel, so turn it. full: one pixel of the picture for each of
// the screen; otherwise the whole picture.
function srganZoom(full) {
  const images = document.querySelectorAll("#slider img");
  const image = images[images.length - 1];
  if (!image) return;
  const box = image.getBoundingClientRect();
  const now = Number((image.style.transform.match(/scale\(([\d.]+)\)/) || [0, 1])[1]);
  const fitted = (box.width / now) * window.devicePixelRatio;
  const wanted = full ? Math.max(image.naturalWidth / fitted, 1) : 1;
  const turns = Math.round(Math.log(wanted / now) / Math.log(1.05));
  const wheel = {
    deltaY: turns > 0 ? -1 : 1,
    clientX: box.left + box.width / 2,
    clientY: box.top + box.height / 2,
    bubbles: true,
    cancelable: true,
  };
  for (let turn = 0; turn < Math.abs(turns); turn++) image.dispatchEvent(new WheelEvent("wheel", wheel));
}

function srganMove(handle, to) {
  const place = (x) => ({ clientX: x, clientY: middle, view: window, bubbles: true, cancelable: true });
  const box = handle.getBoundingClientRect();
  const area = handle.parentElement.getBoundingClientRect();
  const middle = box.top + box.height / 2;
  const from = box.left + box.width / 2;
  const target = Math.min(Math.max(to(from, area), area.left), area.right);
  handle.dispatchEvent(new MouseEvent("mousedown", place(from)));
  window.dispatchEvent(new MouseEvent("mousemove", place(target)));
  window.dispatchEvent(new MouseEvent("mouseup", place(target)));
  handle.setAttribute("aria-valuenow", Math.round((100 * (target - area.left)) / area.width));
}

const SRGAN_KEYS = {
  ArrowLeft: (x, area) => x - area.width / 20,
  ArrowRight: (x, area) => x + area.width / 20,
  Home: (_, area) => area.left,
  End: (_, area) => area.right,
};

document.addEventListener("keydown", (event) => {
  const handle = event.target.closest && event.target.closest("#slider [data-testid=slider]");
  const to = SRGAN_KEYS[event.key];
  if (!handle || !to) return;
  event.preventDefault();
  srganMove(handle, to);
});

new MutationObserver(() => {
  const handle = document.querySelector("#slider [data-testid=slider]:not([tabindex])");
  if (!handle) return;
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", "Where bicubic ends and srgan begins, in percent");
  handle.setAttribute("aria-valuemin", 0);
  handle.setAttribute("aria-valuemax", 100);
  handle.setAttribute("aria-valuenow", 50);
}).observe(document.documentElement, { childList: true, subtree: true });
