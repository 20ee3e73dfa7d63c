// Sorting and searching the classes; zooming into the confusion matrix.
"use strict";

const NUMBERS = new Intl.NumberFormat("en");

for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headers.forEach((header, column) => {
    const button = header.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const numeric = header.classList.contains("number");
      const before = header.getAttribute("aria-sort");
      const ascending = before ? before !== "ascending" : !numeric; // numbers: the greatest first
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        if (!numeric) return key(a).localeCompare(key(b));
        const [first, second] = [parseFloat(key(a)), parseFloat(key(b))];
        if (isNaN(first) || isNaN(second)) return (isNaN(first) - isNaN(second)) * (ascending ? 1 : -1); // last
        return first - second;
      };
      body.append(...[...body.rows].sort((a, b) => (ascending ? order(a, b) : order(b, a))));
    });
  });
}

const search = document.getElementById("search");
search?.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  let shown = 0;
  const rows = document.getElementById("class-table").tBodies[0].rows;
  for (const row of rows) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    shown += !row.hidden;
  }
  document.getElementById("found").textContent = `${NUMBERS.format(shown)} of ${NUMBERS.format(rows.length)} classes`;
});

const matrix = document.getElementById("matrix");
if (matrix) {
  const { names, predictions, cells } = JSON.parse(document.getElementById("matrix-data").textContent);
  const counts = new Map(cells.map(([row, column, count]) => [row * predictions.length + column, count]));
  const totals = names.map(() => 0);
  cells.forEach(([row, , count]) => (totals[row] += count));
  const field = document.getElementById("matrix-cells"); // an inner image: one unit is a cell
  const cursor = document.getElementById("matrix-cursor");
  const labels = document.getElementById("matrix-labels");
  const status = document.getElementById("matrix-status");
  const [left, side] = [field.x.baseVal.value, field.width.baseVal.value];
  const whole = Math.max(names.length, predictions.length);
  const least = Math.min(whole, 4);
  const view = { x: 0, y: 0, size: whole };
  const at = { row: 0, column: 0 };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const label = (text, x, y, most, turned) => {
    const node = document.createElementNS(matrix.namespaceURI, "text");
    node.textContent = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    node.setAttribute("x", x);
    node.setAttribute("y", y);
    node.setAttribute("text-anchor", "end");
    node.setAttribute("dominant-baseline", "central");
    if (turned) node.setAttribute("transform", `rotate(-90 ${x} ${y})`);
    return node;
  };

  const draw = () => {
    view.size = clamp(view.size, least, whole);
    view.x = clamp(view.x, 0, whole - view.size);
    view.y = clamp(view.y, 0, whole - view.size);
    field.setAttribute("viewBox", `${view.x} ${view.y} ${view.size} ${view.size}`);
    cursor.setAttribute("x", at.column);
    cursor.setAttribute("y", at.row);
    const unit = 1000 / Math.max(matrix.clientWidth, 200); // units of the image per pixel of the screen
    labels.style.fontSize = `${11 * unit}px`;
    const most = Math.floor((left - 8) / (6.5 * unit)); // number of letters that fit beside the matrix
    const step = Math.ceil((13 * unit * view.size) / side); // every step-th label fits
    const texts = [];
    for (let index = Math.ceil(view.y - 0.5); index + 0.5 <= view.y + view.size; index += 1) {
      const y = ((index + 0.5 - view.y) / view.size) * side;
      if (index % step === 0 && names[index] !== undefined) texts.push(label(names[index], left - 8, y, most, false));
    }
    for (let index = Math.ceil(view.x - 0.5); index + 0.5 <= view.x + view.size; index += 1) {
      const x = left + ((index + 0.5 - view.x) / view.size) * side;
      if (index % step === 0 && predictions[index] !== undefined) texts.push(label(predictions[index], x, side + 8, most, true));
    }
    labels.replaceChildren(...texts);
    matrix.dataset.size = view.size;
  };

  const showCell = () => {
    const count = counts.get(at.row * predictions.length + at.column) ?? 0;
    const verb = at.row === at.column ? "correctly predicted as" : "predicted as";
    status.textContent = `${names[at.row]}, ${verb} ${predictions[at.column]}: ${count} of ${totals[at.row]} videos`;
  };

  const select = (row, column) => {
    at.row = clamp(row, 0, names.length - 1);
    at.column = clamp(column, 0, predictions.length - 1);
    if (at.column < view.x || at.column + 1 > view.x + view.size) view.x = at.column + 0.5 - view.size / 2;
    if (at.row < view.y || at.row + 1 > view.y + view.size) view.y = at.row + 0.5 - view.size / 2;
    draw();
    showCell();
  };

  // The point (x, y) of the matrix stays where it is.
  const zoom = (factor, x, y) => {
    const size = clamp(view.size * factor, least, whole);
    view.x = x - ((x - view.x) * size) / view.size;
    view.y = y - ((y - view.y) * size) / view.size;
    view.size = size;
    draw();
  };

  const zoomToCell = (factor) => {
    view.x = at.column + 0.5 - view.size / 2;
    view.y = at.row + 0.5 - view.size / 2;
    zoom(factor, at.column + 0.5, at.row + 0.5);
  };

  const actions = {
    in: () => zoomToCell(0.5),
    out: () => zoomToCell(2),
    whole: () => zoomToCell(whole),
    left: () => select(at.row, at.column - 1),
    right: () => select(at.row, at.column + 1),
    up: () => select(at.row - 1, at.column),
    down: () => select(at.row + 1, at.column),
  };
  const keys = {
    "+": "in", "=": "in", "-": "out", 0: "whole",
    ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
  };

  const place = (event) => {
    const box = matrix.getBoundingClientRect();
    const unit = 1000 / box.width;
    return [
      view.x + (((event.clientX - box.left) * unit - left) / side) * view.size,
      view.y + (((event.clientY - box.top) * unit) / side) * view.size,
    ];
  };

  matrix.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[keys[event.key]]();
  });
  for (const button of document.querySelectorAll("[data-matrix]")) {
    button.addEventListener("click", () => actions[button.dataset.matrix]());
  }
  matrix.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== matrix) return; // until it is clicked, the wheel scrolls the page
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, ...place(event));
    },
    { passive: false },
  );
  matrix.addEventListener("click", (event) => {
    const [x, y] = place(event);
    if (x >= 0 && y >= 0 && x < predictions.length && y < names.length) select(Math.floor(y), Math.floor(x));
  });
  for (const link of document.querySelectorAll("[data-cell]")) {
    link.addEventListener("click", () => {
      const [row, column] = link.dataset.cell.split(" ").map(Number);
      view.size = Math.min(whole, 20);
      view.x = column + 0.5 - view.size / 2;
      view.y = row + 0.5 - view.size / 2;
      select(row, column);
      matrix.focus();
    });
  }
  new ResizeObserver(draw).observe(matrix);
  draw();
}
