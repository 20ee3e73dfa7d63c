// Sorting and searching the classes.
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
