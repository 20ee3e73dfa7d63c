// Where: the frames of a clip under a map. A click on a place shows where the network looks from there.

import { CHOOSE, Card, clock, find, make } from "./elements.js";

const STEP = 1 / 16; // of a frame, per arrow key

export class Where {
  constructor(app) {
    this.app = app;
    this.strips = [];
    this.shown = "";
    this.seconds = null; // the middle of the clip; null: that of the video
    this.place = null; // { number, x, y }: a frame of the video, and shares of its width and height
    find("#method").addEventListener("change", () => this.look());
    find("#relative").addEventListener("change", () => this.look());
    find("#at-time").addEventListener("click", () => {
      this.seconds = app.player.time;
      this.place = null;
      this.look();
    });
  }

  open() {
    const { app } = this;
    const key = JSON.stringify([app.player.asked, app.chosen()]);
    if (key === this.shown) return;
    this.strips.forEach((strip) => strip.card.stop());
    if (JSON.stringify(JSON.parse(this.shown || "[null]")[0]) !== JSON.stringify(app.player.asked)) {
      this.place = null;
      this.seconds = null;
    }
    this.shown = key;
    this.strips = app.chosen().map((index) => new Strip(this, index));
    find("#panel-where .cards").replaceChildren(...this.strips.map((strip) => strip.card.element));
    this.look();
  }

  look() {
    const attention = find("#method").value === "attention";
    find("#relative-field").hidden = !attention;
    find("#keys").hidden = !attention;
    find("#where-lead").textContent = attention
      ? "Click a place in a frame to see where the network looks from there."
      : "The places that raise the probability of a class.";
    find("#at-time").disabled = !this.app.player.video;
    this.strips.forEach((strip) => strip.look());
  }

  lookFrom(place) {
    if (find("#method").value !== "attention") return;
    this.place = place;
    this.look();
  }
}

class Strip {
  constructor(where, network) {
    this.where = where;
    this.network = network;
    this.described = where.app.state.networks[network];
    this.card = new Card(this.described.name);
    this.frames = [];
    this.cross = { frame: 0, x: 0.5, y: 0.5 };
    const change = () => this.look();
    this.block = choice("Block", this.described.blocks.map(({ name, kind }) => [name, `${name} (${kind})`]), change);
    const layers = [...this.described.parts, ...this.described.layers].map((name) => [name, name]);
    this.layer = choice("Layer", layers, change);
    this.target = choice("Class", [["", "the predicted one"], ...this.described.classes.map((name) => [name, name])], change);
    this.block.select.value = this.described.blocks.at(-1)?.name ?? "";
    const stages = this.described.parts.filter((name) => /^res\d$/.test(name));
    this.layer.select.value = stages.at(-1) ?? this.described.parts.at(-1) ?? "";
    this.controls = make("div", { className: "controls" }, this.block.label, this.layer.label, this.target.label);
    this.card.element.insertBefore(this.controls, this.card.state);
    this.sentence = make("p", { role: "status" });
    this.scale = make("div", { className: "scale" });
    this.strip = make("div", { className: "strip", role: "group" });
    this.strip.setAttribute("aria-label", "Frames of the clip");
  }

  look() {
    const { player } = this.where.app;
    const method = find("#method").value;
    const attention = method === "attention";
    this.block.label.hidden = !attention || !this.described.blocks.length;
    this.layer.label.hidden = attention;
    this.target.label.hidden = attention;
    if (attention && !this.described.blocks.length) {
      this.card.stop();
      const text = "This network has no block with an attention map. Grad-CAM, another method, needs none.";
      this.card.body.replaceChildren(make("p", { text }));
      return;
    }
    if (!player.video) {
      this.card.hint(CHOOSE);
      return;
    }
    const request = { kind: "map", ...player.asked, network: this.network, method, seconds: this.where.seconds };
    if (attention) {
      Object.assign(request, { block: this.block.select.value, relative: find("#relative").checked });
      const place = this.where.place;
      if (place && this.frames.length) Object.assign(request, { frame: this.nearest(place.number), x: place.x, y: place.y });
    } else {
      Object.assign(request, { layer: this.layer.select.value, target_class: this.target.select.value });
    }
    this.card.run(request, (result) => this.show(result), { keep: true });
  }

  nearest(number) {
    return this.frames.reduce((best, frame, index) => (Math.abs(frame.number - number) < Math.abs(this.frames[best].number - number) ? index : best), 0);
  }

  show(result) {
    this.result = result;
    if (this.frames.length !== result.frames.length) this.build(result.frames.length);
    this.frames.forEach((frame, index) => this.fill(frame, result.frames[index], index));
    this.sentence.textContent = /[.]$/.test(result.sentence) ? result.sentence : `${result.sentence}.`;
    this.sentence.classList.toggle("uniform", result.uniform);
    const colors = make("span", { className: "colors", role: "img", "aria-label": "Color scale" });
    colors.style.background = `linear-gradient(to right, ${result.colors.join(", ")})`;
    this.scale.replaceChildren(figure(result.low), colors, figure(result.high), result.unit);
    if (result.query) this.cross = { ...result.query };
    this.placeCross();
    if (this.strip.isConnected) return "";
    this.card.body.replaceChildren(this.sentence, this.scale, this.strip);
    this.card.body.classList.add("card");
    return this.sentence.textContent;
  }

  build(count) {
    this.cross.frame = Math.min(this.cross.frame, count - 1);
    this.frames = Array.from({ length: count }, (_, index) => {
      const image = make("img", { alt: "", draggable: false });
      const time = make("small");
      const cross = make("span", { className: "cross", "aria-hidden": "true" });
      const button = make("button", { type: "button", className: "frame" }, make("span", { className: "image" }, image, cross), time);
      button.addEventListener("click", (event) => this.click(event, index));
      button.addEventListener("keydown", (event) => this.press(event, index));
      return { button, image, time, cross, number: 0 };
    });
    this.strip.replaceChildren(...this.frames.map((frame) => frame.button));
  }

  fill(frame, { number, seconds, image }, index) {
    frame.number = number;
    frame.image.src = image;
    const when = seconds === null ? "" : ` · ${clock(seconds, true)}`;
    frame.time.textContent = `frame ${number}${when}`;
    frame.button.setAttribute("aria-label", `Frame ${number}${seconds === null ? "" : ` at ${seconds.toFixed(2)} seconds`}`);
    frame.button.setAttribute("aria-describedby", "keys");
    frame.button.classList.toggle("query", this.result.query?.frame === index);
  }

  placeCross() {
    this.frames.forEach((frame, index) => {
      frame.button.tabIndex = index === this.cross.frame ? 0 : -1;
      frame.cross.style.left = `${100 * this.cross.x}%`;
      frame.cross.style.top = `${100 * this.cross.y}%`;
    });
  }

  click(event, index) {
    if (event.detail > 0) {
      const box = this.frames[index].image.getBoundingClientRect();
      const share = (value, size) => Math.min(1, Math.max(0, value / size));
      this.cross = { frame: index, x: share(event.clientX - box.left, box.width), y: share(event.clientY - box.top, box.height) };
    }
    this.placeCross();
    this.where.lookFrom({ number: this.frames[index].number, x: this.cross.x, y: this.cross.y });
  }

  press(event, index) {
    const [left, top, right, bottom] = this.result.crop;
    const keep = (value, low, high) => Math.min(high - 0.005, Math.max(low + 0.005, value));
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const jumps = { PageUp: index - 1, PageDown: index + 1, Home: 0, End: this.frames.length - 1 };
    if (event.key in moves) {
      const [x, y] = moves[event.key];
      this.cross = { frame: index, x: keep(this.cross.x + x, left, right), y: keep(this.cross.y + y, top, bottom) };
    } else if (event.key in jumps) {
      this.cross.frame = Math.min(this.frames.length - 1, Math.max(0, jumps[event.key]));
    } else {
      return;
    }
    event.preventDefault();
    this.placeCross();
    this.frames[this.cross.frame].button.focus();
  }
}

function figure(value) {
  return make("span", { text: value === 0 ? "0" : Number(value.toPrecision(3)).toString() });
}

function choice(title, options, change) {
  const select = make("select", {}, ...options.map(([value, text]) => make("option", { value, text })));
  select.addEventListener("change", change);
  return { select, label: make("label", {}, `${title} `, select) };
}
