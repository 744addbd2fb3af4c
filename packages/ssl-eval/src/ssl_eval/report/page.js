"use strict";
// Tell a reader that a table is wider than the page.
const mark = () => {
  for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("wider", box.scrollWidth > box.clientWidth);
};
mark();
addEventListener("resize", mark);
for (const folded of document.querySelectorAll("details")) folded.addEventListener("toggle", mark);
// A heading sorts its table: numbers by value with the best first, text by its letters; what has no value stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const written = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!heads[column].classList.contains("number")) return cell.textContent.trim();
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  const compare = (a, b) =>
    typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { [first]: second, [second]: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? first : next; // a third time: as it was written
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const rows = [...written];
      if (order !== null) {
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        rows.sort((one, other) => {
          const [a, b] = [key(one, column), key(other, column)];
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * compare(a, b);
        });
      }
      body.append(...rows);
    });
  });
}
