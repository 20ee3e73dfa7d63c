// The confusion matrix: numbers where there is room, zooming, and the cell under the pointer or chosen by keyboard.
"use strict";

const LEAST_CELL = 14; // pixels: smaller cells have no number
const LEAST_FONT = 8;
const TINY_CELL = 3; // pixels: smaller cells are drawn larger than they are
const percent = (share, digits) => `${(100 * share).toFixed(digits)}%`;

const matrix = document.getElementById("matrix");
if (matrix) {
  const { names, predictions, cells } = JSON.parse(document.getElementById("matrix-data").textContent);
  const counts = new Map(cells.map(([row, column, count]) => [row * predictions.length + column, count]));
  const totals = names.map(() => 0);
  cells.forEach(([row, , count]) => (totals[row] += count));
  const field = document.getElementById("matrix-cells"); // an inner image: one unit is a cell
  const cursor = document.getElementById("matrix-cursor");
  const labels = document.getElementById("matrix-labels");
  const numbers = document.getElementById("matrix-numbers");
  const tip = document.getElementById("matrix-tip");
  const status = document.getElementById("matrix-status");
  const [left, side] = [field.x.baseVal.value, field.width.baseVal.value];
  const whole = predictions.length; // as many as the classes, or one more
  const tall = names.length / whole; // rows of the view per column
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

  // Counts where a cell has room for them, and below them the share of the class.
  const drawNumbers = (unit) => {
    const cell = side / view.size / unit; // pixels of the screen
    if (cell < LEAST_CELL) return numbers.replaceChildren();
    const inView = ([row, column]) =>
      row + 0.5 > view.y && row + 0.5 < view.y + view.size * tall && column + 0.5 > view.x && column + 0.5 < view.x + view.size;
    const shown = cells.filter(inView);
    const longest = Math.max(...shown.map(([, , count]) => String(count).length), 2);
    const font = Math.min(cell * 0.42, (cell * 0.92) / (0.6 * longest), 18);
    const both = Math.min(cell * 0.3, (cell * 0.92) / (0.6 * Math.max(longest, 4)), 16); // with a share below
    const size = both >= LEAST_FONT ? both : font;
    if (size < LEAST_FONT) return numbers.replaceChildren();
    const texts = shown.flatMap(([row, column, count]) => {
      const x = left + ((column + 0.5 - view.x) / view.size) * side;
      const y = ((row + 0.5 - view.y) / view.size) * side;
      const share = count / totals[row];
      const lines = both >= LEAST_FONT ? [NUMBERS.format(count), percent(share, 0)] : [NUMBERS.format(count)];
      return lines.map((text, line) => {
        const node = document.createElementNS(matrix.namespaceURI, "text");
        node.textContent = text;
        node.setAttribute("x", x);
        node.setAttribute("y", y + (line - (lines.length - 1) / 2) * size * 1.15 * unit);
        node.setAttribute("class", share > 0.5 ? "strong" : "weak");
        return node;
      });
    });
    numbers.style.fontSize = `${size * unit}px`;
    numbers.replaceChildren(...texts);
  };

  const draw = () => {
    view.size = clamp(view.size, least, whole);
    view.x = clamp(view.x, 0, whole - view.size);
    view.y = clamp(view.y, 0, names.length - view.size * tall);
    field.setAttribute("viewBox", `${view.x} ${view.y} ${view.size} ${view.size * tall}`);
    cursor.setAttribute("x", at.column);
    cursor.setAttribute("y", at.row);
    const unit = 1000 / Math.max(matrix.clientWidth, 200); // units of the image per pixel of the screen
    matrix.classList.toggle("tiny", side / view.size / unit < TINY_CELL);
    labels.style.fontSize = `${11 * unit}px`;
    const most = Math.floor((left - 8) / (6.5 * unit)); // number of letters that fit beside the matrix
    const step = Math.ceil((13 * unit * view.size) / side); // every step-th label fits
    const texts = [];
    for (let index = Math.ceil(view.y - 0.5); index + 0.5 <= view.y + view.size * tall; index += 1) {
      const y = ((index + 0.5 - view.y) / view.size) * side;
      if (y < 5 * unit) continue; // it would be cut off
      if (index % step === 0 && names[index] !== undefined) texts.push(label(names[index], left - 8, y, most, false));
    }
    for (let index = Math.ceil(view.x - 0.5); index + 0.5 <= view.x + view.size; index += 1) {
      const x = left + ((index + 0.5 - view.x) / view.size) * side;
      if (x > 1000 - 5 * unit) continue;
      if (index % step === 0 && predictions[index] !== undefined) texts.push(label(predictions[index], x, side * tall + 8, most, true));
    }
    // In the corner: what the rows and the columns are.
    texts.push(label("class ↑", left - 8, side * tall + 14 * unit, most, false));
    texts.push(label("prediction →", left - 8, side * tall + 30 * unit, most + 2, false));
    labels.replaceChildren(...texts);
    drawNumbers(unit);
    matrix.dataset.size = view.size;
  };

  const described = (row, column) => {
    const count = counts.get(row * predictions.length + column) ?? 0;
    const verb = row === column ? "correctly predicted as" : "predicted as";
    const share = totals[row] ? ` (${percent(count / totals[row], 1)})` : "";
    return `${names[row]}, ${verb} ${predictions[column]}: ${count} of ${totals[row]} videos${share}`;
  };

  const select = (row, column) => {
    at.row = clamp(row, 0, names.length - 1);
    at.column = clamp(column, 0, predictions.length - 1);
    if (at.column < view.x || at.column + 1 > view.x + view.size) view.x = at.column + 0.5 - view.size / 2;
    if (at.row < view.y || at.row + 1 > view.y + view.size * tall) view.y = at.row + 0.5 - (view.size * tall) / 2;
    draw();
    status.textContent = described(at.row, at.column);
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
    view.y = at.row + 0.5 - (view.size * tall) / 2;
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
  // The row and column under the pointer.
  const cellAt = (event) => {
    const [x, y] = place(event);
    const inside = x >= view.x && y >= 0 && x < Math.min(predictions.length, view.x + view.size);
    return inside && y < view.y + view.size * tall ? [Math.floor(y), Math.floor(x)] : null;
  };
  matrix.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell) select(...cell);
  });
  matrix.addEventListener("pointermove", (event) => {
    const cell = event.pointerType === "mouse" ? cellAt(event) : null;
    tip.hidden = !cell;
    if (!cell) return;
    tip.textContent = described(...cell);
    const right = event.clientX > window.innerWidth / 2;
    tip.style.left = right ? "" : `${event.clientX + 14}px`;
    tip.style.right = right ? `${document.documentElement.clientWidth - event.clientX + 14}px` : "";
    tip.style.top = `${event.clientY + 14}px`;
  });
  matrix.addEventListener("pointerleave", () => (tip.hidden = true));
  for (const link of document.querySelectorAll("[data-cell]")) {
    link.addEventListener("click", () => {
      const [row, column] = link.dataset.cell.split(" ").map(Number);
      view.size = Math.min(whole, 20);
      view.x = column - Math.floor(view.size / 2);
      view.y = row - Math.floor((view.size * tall) / 2);
      select(row, column);
      matrix.focus();
    });
  }
  new ResizeObserver(draw).observe(matrix);
  draw();
}
