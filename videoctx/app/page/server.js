// Requests to the server. Every page has a name of its own, by which its videos are deleted when it is closed.

const bytes = crypto.getRandomValues(new Uint8Array(16));
const PAGE = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const HEARTBEAT_MS = 20000;

export class ServerError extends Error {}
export class Cancelled extends Error {}

async function ask(method, path, { body, raw, signal, keepalive } = {}) {
  const headers = { "X-Videoctx-Page": PAGE };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    const content = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    response = await fetch(path, { method, headers, body: content, signal, keepalive });
  } catch (error) {
    if (error.name === "AbortError") throw new Cancelled();
    throw new ServerError("The server cannot be reached. Is it still running?");
  }
  const found = await response.json().catch(() => ({ error: "The server failed; its terminal shows the error." }));
  if (!response.ok) throw new ServerError(found.error ?? "The server failed; its terminal shows the error.");
  return found;
}

export const state = () => ask("GET", "/state");
export const results = (name, start) => ask("GET", `/results?class=${encodeURIComponent(name)}&start=${start}`);
export const addSource = (body) => ask("POST", "/videos", { body });

// Upload a file, with its progress from 0 to 1. `fetch` reports none.
export function upload(file, name, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/videos?name=${encodeURIComponent(name)}`);
    request.setRequestHeader("X-Videoctx-Page", PAGE);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 200) resolve(request.response);
      else reject(new ServerError(request.response?.error ?? "The upload failed."));
    };
    request.onerror = () => reject(new ServerError("The upload failed. Is the server still running?"));
    request.onabort = () => reject(new Cancelled());
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

// Run a job and return its result. `onStatus` is called with every change; `signal` cancels it.
export async function run(body, { onStatus = () => {}, signal } = {}) {
  const { id } = await ask("POST", "/jobs", { body });
  const cancel = () => ask("DELETE", `/jobs/${id}`, { keepalive: true }).catch(() => {});
  let status = { version: "" };
  try {
    while (!["done", "failed", "cancelled"].includes(status.state)) {
      if (signal?.aborted) throw new Cancelled();
      status = await ask("GET", `/jobs/${id}?known=${encodeURIComponent(status.version)}`, { signal });
      onStatus(status);
    }
  } catch (error) {
    if (error instanceof Cancelled) cancel();
    throw error;
  }
  if (status.state === "done") return status.result;
  throw status.state === "cancelled" ? new Cancelled() : new ServerError(status.error);
}

setInterval(() => ask("POST", "/page").catch(() => {}), HEARTBEAT_MS);
addEventListener("pagehide", () => ask("DELETE", "/page", { keepalive: true }).catch(() => {}));
addEventListener("pageshow", (event) => event.persisted && location.reload());
