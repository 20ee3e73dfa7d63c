// Small functions that build the page. Text is always text, never HTML.

import { Cancelled, run } from "./server.js";

export const find = (selector, inside = document) => inside.querySelector(selector);

export function make(tag, { text, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export const CHOOSE = "Choose a video to begin.";

export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const percent = (value) => `${(100 * value).toFixed(1)} %`;

export function clock(seconds, precise = false) {
  const rounded = precise ? Math.round(seconds * 100) / 100 : Math.round(seconds);
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor((rounded % 3600) / 60);
  const rest = (rounded % 60).toFixed(precise ? 2 : 0).padStart(precise ? 5 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function sentence(text) {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export const errorLine = (error) => make("p", { className: "error", role: "alert", text: sentence(error.message) });

// Part of the page that shows one job at a time: its state with a button to cancel it, then its result or its error.
export class Card {
  constructor(title) {
    this.body = make("div", { className: "card-body" });
    this.state = make("div", { className: "working", role: "status" });
    this.news = make("p", { className: "unseen", role: "status" }); // for screen readers
    this.element = make("section", { className: "card", "aria-label": title });
    if (title) this.element.append(make("h3", { text: title }));
    this.element.append(this.state, this.news, this.body);
    this.controller = null;
  }

  hint(text) {
    this.body.replaceChildren(make("p", { className: "hint", text }));
  }

  stop() {
    this.controller?.abort();
    this.controller = null;
    this.state.replaceChildren();
  }

  // Run a job, and show its result by `show`, which may return a text for screen readers. A job that is still running
  // is cancelled. `keep`: what is shown stays until there is a result, and beside an error.
  async run(request, show, { keep = false } = {}) {
    this.stop();
    const controller = new AbortController();
    this.controller = controller;
    this.news.textContent = "";
    const text = make("span", { text: "Waiting …" });
    const bar = make("progress", { max: 1, "aria-label": "Progress" });
    const cancel = make("button", { type: "button", text: "Cancel" });
    const stopped = (focus) => {
      const again = make("button", { type: "button", text: "Run again" });
      again.onclick = () => this.run(request, show, { keep });
      this.state.replaceChildren("Cancelled.", again);
      if (focus) again.focus();
    };
    cancel.onclick = () => {
      controller.abort();
      stopped(true);
    };
    // A job of an instant shows nothing, so that the page does not flicker.
    const timer = setTimeout(() => this.controller === controller && this.state.replaceChildren(text, bar, cancel), 250);
    if (keep) this.body.querySelectorAll(":scope > .error").forEach((line) => line.remove());
    else this.body.replaceChildren();
    const onStatus = (status) => {
      text.textContent = status.state === "waiting" && status.before ? `Waiting for ${status.before} before …` : "Working …";
      if (status.progress !== null) bar.value = status.progress;
    };
    try {
      const result = await run(request, { onStatus, signal: controller.signal });
      if (this.controller === controller) this.news.textContent = show(result, this.body) ?? "";
    } catch (error) {
      if (error instanceof Cancelled) {
        clearTimeout(timer);
        if (this.controller === controller && !controller.signal.aborted) stopped(false);
        return;
      }
      if (this.controller === controller && keep) this.body.prepend(errorLine(error));
      else if (this.controller === controller) this.body.replaceChildren(errorLine(error));
    }
    clearTimeout(timer);
    if (this.controller === controller) this.stop();
  }
}
