for (const table of document.querySelectorAll("table")) {
  const first = table.tBodies[0] && table.tBodies[0].rows[0];
  if (!first || table.className === "heat") continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if ([...table.tBodies[0].rows].some(row => row.cells[column].className === "number")) head.className = "number";
  });
}
const value = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
};
const compare = (a, b) => {
  if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
};
for (const head of document.querySelectorAll(".sortable th")) {
  head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const rows = [...body.rows].sort((a, b) => {
      const order = compare(value(a, column), value(b, column));
      return down ? -order : order;
    });
    body.append(...rows);
  });
}
addEventListener("beforeprint", () => {
  for (const plot of document.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(plot);
});
