// The HTTP service, as any client sees it. All paths are relative, so that a proxy may move it.

/** The server did not answer at all. */
export class Unreachable extends Error {}

/** The server refused. `retry` is the number of seconds after which to try again, or null. */
export class Refused extends Error {
  constructor(status, detail, retry) {
    super(detail);
    this.status = status;
    this.retry = retry;
  }
}

function refusal(status, text, retryAfter) {
  let detail = `the server answered ${status}`;
  try {
    detail = JSON.parse(text).detail || detail;
  } catch {
    // not a problem document: a proxy's answer
  }
  return new Refused(status, detail, retryAfter ? Number(retryAfter) : null);
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    throw new Unreachable(error.message);
  }
  if (answer.status === 502 || answer.status === 504) throw new Unreachable("the proxy is alone");
  if (!answer.ok) {
    throw refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  }
  return answer.status === 204 ? null : answer.json();
}

export const about = () => call("v1/about");
export const models = () => call("v1/models");
export const remove = (id) => call(`v1/jobs/${id}`, { method: "DELETE" });
export const again = (id, order) => call(`v1/jobs/${id}/again?${order}`, { method: "POST" });
export const statuses = (ids) => call(`v1/jobs?${query(ids)}`);

export const preview = (id, of) => `v1/jobs/${id}/preview?of=${of}`;
export const result = (id) => `v1/jobs/${id}/result`;
export const zip = (ids) => `v1/results.zip?${query(ids)}`;

const query = (ids) => new URLSearchParams(ids.map((id) => ["id", id]));

/** Send a photo as a job. A repeated send with the same key is the same job. */
export function send(file, order, key, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // unlike fetch, it tells how much has been sent
    request.open("POST", `v1/jobs?${order}`);
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => {
      const text = request.responseText;
      if (request.status === 202) resolve(JSON.parse(text));
      else reject(refusal(request.status, text, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Unreachable("the upload broke"));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
