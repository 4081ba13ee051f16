// Numbers and findings in words, and small helpers that make elements.

export const megapixels = (size) => {
  const value = (size.width * size.height) / 1e6;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} MP`;
};

export const dimensions = (size) => `${size.width} × ${size.height}`;

export function bytes(count) {
  if (count < 1e5) return `${Math.max(Math.round(count / 1e3), 1)} kB`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds), 1)} s`;
  return `${Math.round(seconds / 60)} min`;
}

export const photos = (count) => (count === 1 ? "1 photo" : `${count} photos`);

/** What the choice of the model found, in a sentence. */
export function found(job, ordered) {
  if (ordered !== "auto") return `Made with ${title(job.model)}.`;
  if (job.signs.length) {
    const signs = job.signs.join(", ").replace(/, ([^,]*)$/, " and $1");
    return `Looks ${signs}: used the model for blurry photos.`;
  }
  if (job.model.startsWith("srgan-blurry")) return "Same size: used the model that sharpens.";
  return "Looks clean: used the natural model.";
}

// The shipped models in plain words. Other models show their own name and description.
const AUTO = ["Automatic", "Picks the model for each photo"];
const FAMILIES = {
  srgan: ["Natural", "Sharp, faithful"],
  "srgan-blurry": ["Blurry or noisy photos", "Old, out of focus, compressed"],
  srresnet: ["Exact", "Softer, invents nothing"],
  "srresnet-blurry": ["Exact, for blurry photos", "Softer, invents nothing"],
};
const USUAL = ["srgan-x4", "srgan-blurry-x4"];

function shipped(name) {
  if (name === "auto") return AUTO;
  const [, family, scale] = name.match(/^(.+)-x(\d+)$/) || [];
  const words = FAMILIES[family];
  return words && scale !== "4" ? [`${words[0]}, ${scale} times`, words[1]] : words;
}

/** Other scales, and the ends of the detail slider. */
export const isRare = (name) =>
  name !== "auto" && !USUAL.includes(name) && shipped(name) !== undefined;

export const title = (name) => shipped(name)?.[0] || name;
export const purpose = (model) =>
  shipped(model.name)?.[1] || model.description || "A model of your own";

/** An element with attributes and children. Text is never HTML. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `static/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}
