// The page: which networks are chosen, which tab is open, and what happens when a video is chosen.

import { errorLine, find, make } from "./elements.js";
import { Player } from "./player.js";
import { Results } from "./results.js";
import { state } from "./server.js";
import { Try } from "./try.js";
import { When } from "./when.js";
import { Where } from "./where.js";

class App {
  constructor(found) {
    this.state = found;
    const names = found.networks.map(({ name }, index) => make("option", { value: index, text: name }));
    find("#network").append(...names);
    if (names.length > 1) {
      find("#compare-field").hidden = false;
      find("#compare").append(...names.map((option) => option.cloneNode(true)));
    }
    this.player = new Player(found);
    this.tabs = { try: new Try(this), when: new When(this), where: new Where(this), results: new Results(this) };
    this.opened = "try";
    for (const id of ["#network", "#compare"]) find(id).addEventListener("change", () => this.tabs[this.opened].open());
    this.player.addEventListener("video", ({ detail }) => this.select(detail ?? (this.opened === "results" ? "try" : this.opened)));
    // The length of the video, which decides what runs by itself, is known a moment later.
    this.player.addEventListener("length", () => this.opened === "when" && this.tabs.when.begin());
    const buttons = [...document.querySelectorAll("[role=tab]")];
    buttons.forEach((button) => {
      button.addEventListener("click", () => this.select(button.id.replace("tab-", "")));
      button.addEventListener("keydown", (event) => this.press(event));
    });
    this.tabs.try.open();
  }

  // The numbers of the chosen networks, one or two.
  chosen() {
    const first = Number(find("#network").value);
    const second = find("#compare").value;
    return second === "" || Number(second) === first ? [first] : [first, Number(second)];
  }

  select(name, focus = false) {
    this.opened = name;
    const focused = document.activeElement?.closest("[role=tabpanel]"); // is the focus in a panel that is hidden now?
    focus ||= focused && focused.id !== `panel-${name}`;
    for (const button of document.querySelectorAll("[role=tab]")) {
      const isChosen = button.id === `tab-${name}`;
      button.setAttribute("aria-selected", isChosen);
      button.tabIndex = isChosen ? 0 : -1;
      find(`#${button.getAttribute("aria-controls")}`).hidden = !isChosen;
      if (isChosen && focus) button.focus();
    }
    this.tabs[name].open();
  }

  press(event) {
    const names = [...document.querySelectorAll("[role=tab]:not([hidden])")].map((button) => button.id.replace("tab-", ""));
    const here = names.indexOf(this.opened);
    const target = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: names.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.select(names[(target + names.length) % names.length], true);
  }
}

state()
  .then((found) => new App(found))
  .catch((error) => find("#note").replaceChildren(errorLine(error)));
