// When: the probabilities of the best classes over time, stacked, with thumbnails under the axis.

import { CHOOSE, Card, clock, count, find, make, percent } from "./elements.js";

const COLORS = ["#2f6fd0", "#e07b1a", "#2a9d5c", "#c2413b", "#8457c5", "#9a6a3c", "#d264a6", "#3aa6b9", "#b5a12b", "#6b7f99", "#7fb069", "#5b4a8a"];
const REST = "all others";
const WIDTH = 1000;
const HEIGHT = 100;
const SHORT_SECONDS = 60; // videos of this length are looked at without being asked
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]; // seconds
const TICK_PX = 90; // that a time takes at least
const SVG = "http://www.w3.org/2000/svg";

export class When {
  constructor(app) {
    this.app = app;
    this.cards = [];
    this.charts = [];
    this.colors = new Map(); // of each class, the same in all charts
    this.shown = "";
    find("#panel-when form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find();
    });
    app.player.addEventListener("time", () => this.charts.forEach((chart) => chart.move()));
  }

  open() {
    const { app } = this;
    const key = JSON.stringify([app.player.asked, app.chosen()]);
    if (key === this.shown) return;
    this.cards.forEach((card) => card.stop());
    this.charts = [];
    this.cards = app.chosen().map((index) => new Card(app.state.networks[index].name));
    find("#panel-when .cards").replaceChildren(...this.cards.map((card) => card.element));
    this.shown = key;
    find("#find-moments").disabled = !app.player.video;
    this.begun = false;
    if (!app.player.video) this.cards.forEach((card) => card.hint(CHOOSE));
    this.begin();
  }

  // Look at a short video without being asked, as soon as the player knows its length. The server names the fault of one
  // that cannot be shown.
  begin() {
    const { duration, isOpen, isShown } = this.app.player;
    if (this.begun || !isOpen) return;
    this.begun = true;
    find("#stride").value = duration && duration < 10 ? 0.2 : 1;
    const which = duration ? "A long video" : "A video of unknown length";
    if (duration ? duration <= SHORT_SECONDS : !isShown) this.find();
    else this.cards.forEach((card) => card.hint(`${which} is looked through when you press “Find the moments”.`));
  }

  find() {
    const { app } = this;
    if (!app.player.video || !find("#panel-when form").reportValidity()) return;
    this.begun = true;
    this.charts = [];
    this.colors.clear();
    this.cards.forEach((card, position) => {
      const network = app.chosen()[position];
      const request = { kind: "timeline", ...app.player.asked, network, stride_seconds: Number(find("#stride").value) };
      const show = (result, body) => {
        const chart = new Chart(result, body, app.player, this.colors);
        this.charts.push(chart);
        return `${count(result.num_moments, "clip")} classified. ${chart.chart.getAttribute("aria-valuetext")}`;
      };
      card.run(request, show);
    });
  }
}

class Chart {
  constructor(result, body, player, colors) {
    const { start, end } = result; // of the video, or of its segment
    Object.assign(this, { result, player, start, end, length: end - start || 1 });
    this.colors = colorsOf(result.classes.map((one) => one.class), colors);
    this.middles = result.starts.map((start, index) => (start + result.ends[index]) / 2);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(...(result.multi_label ? this.lines() : this.areas()));
    this.now = make("div", { className: "now" });
    this.chart = make("div", { className: "chart", role: "slider", tabIndex: 0 }, svg, this.thumbnails(), this.now);
    this.chart.setAttribute("aria-label", "Classes over time");
    this.chart.setAttribute("aria-valuemin", start.toFixed(2));
    this.chart.setAttribute("aria-valuemax", end.toFixed(2));
    this.chart.addEventListener("click", (event) => {
      const box = this.chart.getBoundingClientRect();
      this.seek(start + ((event.clientX - box.left) / box.width) * this.length);
    });
    this.chart.addEventListener("keydown", (event) => this.press(event));
    this.legend = make("ul", { className: "legend" });
    const more = result.num_more ? `, ${result.num_more} more classes are the best at some moment` : "";
    const facts = `${count(result.num_moments, "clip")}${more}`;
    const plot = make("div", { className: "plot" }, this.axis(), this.chart, this.ticks());
    body.replaceChildren(plot, this.legend, make("p", { className: "facts", text: facts }));
    body.classList.add("card");
    this.move();
  }

  share(seconds) {
    return (seconds - this.start) / this.length;
  }

  x(seconds) {
    return this.share(seconds) * WIDTH;
  }

  // Each class lies on those before it; what is left is that of all others.
  areas() {
    const { middles } = this;
    const edge = (values) => {
      const points = middles.map((seconds, index) => [this.x(seconds), HEIGHT * (1 - values[index])]);
      return [[0, points[0][1]], ...points, [WIDTH, points.at(-1)[1]]];
    };
    let below = middles.map(() => 0);
    return this.result.classes.map(({ probabilities }, index) => {
      const above = below.map((value, position) => Math.min(1, value + probabilities[position]));
      const outline = [...edge(below), ...edge(above).reverse()];
      below = above;
      const shape = document.createElementNS(SVG, "polygon");
      shape.setAttribute("points", outline.map((point) => point.map((value) => value.toFixed(2)).join(",")).join(" "));
      shape.setAttribute("fill", this.colors[index]);
      return shape;
    });
  }

  lines() {
    return this.result.classes.map(({ probabilities }, index) => {
      const shape = document.createElementNS(SVG, "polyline");
      const points = this.middles.map((seconds, position) => `${this.x(seconds).toFixed(2)},${(HEIGHT * (1 - probabilities[position])).toFixed(2)}`);
      shape.setAttribute("points", points.join(" "));
      shape.setAttribute("fill", "none");
      shape.setAttribute("stroke", this.colors[index]);
      shape.setAttribute("stroke-width", 2);
      shape.setAttribute("vector-effect", "non-scaling-stroke");
      return shape;
    });
  }

  // As many thumbnails as there is room for, each the nearest to the middle of its place.
  thumbnails() {
    const { thumbnails } = this.result;
    const room = Math.max(3, Math.min(thumbnails.length, Math.floor(find("#tabs").clientWidth / 84)));
    const images = Array.from({ length: Math.min(room, thumbnails.length) }, (_, index) => {
      const middle = this.start + ((index + 0.5) / room) * this.length;
      const nearest = thumbnails.reduce((best, one) => (Math.abs(one.seconds - middle) < Math.abs(best.seconds - middle) ? one : best));
      return make("img", { src: nearest.image, alt: "" });
    });
    return make("div", { className: "thumbs" }, ...images);
  }

  axis() {
    const labels = ["100 %", "50 %", "0 %"].map((text) => make("span", { text }));
    return make("div", { className: "axis", "aria-hidden": "true" }, ...labels);
  }

  // Times at round distances.
  ticks() {
    const most = Math.max(2, Math.floor(find("#tabs").clientWidth / TICK_PX));
    const step = STEPS.find((seconds) => this.length / seconds <= most) ?? STEPS.at(-1);
    const first = Math.ceil(this.start / step - 1e-6);
    const ticks = Array.from({ length: Math.floor(this.end / step + 1e-6) + 1 - first }, (_, index) => {
      const seconds = (first + index) * step;
      const tick = make("span", { text: clock(seconds, step < 1) });
      tick.style.left = `${Math.min(100, 100 * this.share(seconds))}%`;
      tick.classList.toggle("begin", seconds - this.start < step / 4);
      tick.classList.toggle("end", index > 0 && this.end - seconds < step / 4);
      return tick;
    });
    return make("div", { className: "ticks", "aria-hidden": "true" }, ...ticks);
  }

  seek(seconds) {
    this.player.seek(Math.max(this.start, Math.min(seconds, this.end)));
  }

  press(event) {
    const step = Math.max(this.length / 100, 0.1);
    const { time } = this.player;
    const target = { ArrowLeft: time - step, ArrowDown: time - step, ArrowRight: time + step, ArrowUp: time + step, PageUp: time + 10 * step, PageDown: time - 10 * step, Home: this.start, End: this.end }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.seek(target);
  }

  move() {
    const seconds = Math.max(this.start, Math.min(this.player.time, this.end));
    this.now.style.left = `${100 * this.share(seconds)}%`;
    const nearest = this.middles.reduce((best, middle, index) => (Math.abs(middle - seconds) < Math.abs(this.middles[best] - seconds) ? index : best), 0);
    const shares = this.result.classes.map(({ class: name, probabilities }, index) => [name, probabilities[nearest], this.colors[index]]);
    if (!this.result.multi_label && this.result.num_others) shares.push([REST, Math.max(0, 1 - shares.reduce((sum, [, share]) => sum + share, 0)), null]);
    this.legend.replaceChildren(
      ...shares.map(([name, share, color]) => {
        const swatch = make("i", { "aria-hidden": "true" });
        if (color) swatch.style.background = color;
        else swatch.className = "rest";
        return make("li", {}, swatch, make("bdi", { text: name }), " ", make("b", { text: percent(share) }));
      }),
    );
    const best = shares.reduce((one, other) => (other[1] > one[1] ? other : one));
    this.chart.setAttribute("aria-valuenow", seconds.toFixed(2));
    this.chart.setAttribute("aria-valuetext", `${clock(seconds, true)}: ${best[0]} ${percent(best[1])}`);
  }
}

// A class has the color that an earlier chart gave it, unless another class of this chart has it already.
function colorsOf(names, known) {
  const used = new Set(names.map((name) => known.get(name)).filter(Boolean));
  const taken = new Set([...known.values(), ...used]);
  return names.map((name) => {
    if (!known.has(name)) {
      const color = COLORS.find((one) => !taken.has(one)) ?? COLORS.find((one) => !used.has(one)) ?? COLORS[0];
      known.set(name, color);
      used.add(color);
      taken.add(color);
    }
    return known.get(name);
  });
}
