// Try: the best classes of the whole video, as bars.

import { CHOOSE, Card, count, find, make, percent } from "./elements.js";

export class Try {
  constructor(app) {
    this.app = app;
    this.cards = [];
    this.shown = "";
  }

  open() {
    const { app } = this;
    const key = JSON.stringify([app.player.asked, app.chosen()]);
    if (key === this.shown) return;
    this.shown = key;
    this.cards.forEach((card) => card.stop());
    const chosen = app.chosen();
    this.cards = chosen.map((index) => new Card(app.state.networks[index].name));
    find("#panel-try .cards").replaceChildren(...this.cards.map((card) => card.element));
    if (!app.player.video) {
      this.cards.forEach((card) => card.hint(CHOOSE));
      return;
    }
    this.cards.forEach((card, position) =>
      card.run({ kind: "predict", ...app.player.asked, network: chosen[position] }, showBars),
    );
  }
}

function showBars(result, body) {
  const items = result.classes.map(({ class: name, probability }) => {
    const fill = make("span");
    fill.style.width = `${100 * probability}%`;
    return make(
      "li",
      { "data-probability": probability },
      make("span", { className: "name", text: name }),
      make("span", { className: "value", text: percent(probability) }),
      make("span", { className: "track", "aria-hidden": "true" }, fill),
    );
  });
  const [clips, crops] = result.views.split("x").map(Number);
  const views = `${count(result.num_views, "view")} (${count(clips, "clip")} × ${count(crops, "crop")})`;
  body.replaceChildren(
    make("ol", { className: "bars", "aria-label": "The best classes" }, ...items),
    make("p", { className: "facts", text: `${views} in ${result.milliseconds} ms` }),
  );
  body.classList.add("card");
  return result.classes.length ? `${result.classes[0].class} ${percent(result.classes[0].probability)}` : "";
}
