// Results: the videos of a tested run by class, the most confident errors first.

import { results } from "./server.js";
import { count, errorLine, find, make, percent } from "./elements.js";

export class Results {
  constructor(app) {
    this.app = app;
    this.count = 0;
    this.asked = 0; // number of requests so far: only the last one is shown
    const { run } = app.state;
    if (!run) return;
    find("#tab-results").hidden = false;
    find("#run-line").textContent = `${run.name}: ${run.line}`;
    const measure = run.multi_label ? "AP" : "correct";
    const options = run.classes
      .filter((one) => one.num_videos)
      .map((one) => make("option", { value: one.class, text: `${one.class} (${count(one.num_videos, "video")}, ${percent(one.value)} ${measure})` }));
    find("#run-class").append(make("option", { value: "", text: "all classes" }), ...options);
    find("#run-class").addEventListener("change", () => this.load(0));
    find("#more").addEventListener("click", () => this.load(this.count));
  }

  open() {
    if (!this.count) this.load(0);
  }

  async load(start) {
    const list = find("#tested");
    const asked = ++this.asked;
    let found;
    try {
      found = await results(find("#run-class").value, start);
    } catch (error) {
      if (asked === this.asked) list.replaceChildren(make("li", {}, errorLine(error)));
      return;
    }
    if (asked !== this.asked) return;
    const rows = found.videos.map((video) => this.row(video));
    if (start) list.append(...rows);
    else list.replaceChildren(...rows);
    this.count = start + rows.length;
    find("#more").hidden = this.count >= found.num_videos;
  }

  row(video) {
    const mark = video.incorrect ? ["bad", "✗ incorrect"] : video.prediction === null ? ["bad", "✗ failed"] : ["ok", "✓ correct"];
    const predicted = video.prediction === null ? (video.failure ?? "NaN from the network") : `${video.prediction} ${percent(video.confidence)}`;
    const labels = video.labels.join(", ") || "no class";
    const show = make("button", { type: "button", text: "Where", "aria-label": `Where: ${video.name}` });
    show.addEventListener("click", () => this.app.player.open({ run: video.index }, video.name, "where"));
    return make(
      "li",
      { className: video.incorrect ? "incorrect" : "" },
      make("div", {}, make("div", { text: `${labels} → ` }, make("span", { className: "value", text: predicted })), make("div", { className: "file", text: video.name })),
      make("span", { className: `mark ${mark[0]}`, text: mark[1] }),
      show,
    );
  }
}
