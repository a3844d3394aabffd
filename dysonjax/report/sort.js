// A click on a heading sorts its column, numbers as numbers; a second click turns the order round.
document.addEventListener("click", ({ target }) => {
  const head = target.closest("thead th");
  if (!head) return;
  const table = head.closest("table"), heads = [...table.tHead.rows[0].cells];
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const key = (row) => {
    const cell = row.cells[heads.indexOf(head)];
    const value = parseFloat(cell.dataset.value);
    return Number.isNaN(value) ? cell.textContent : value;
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (typeof x === "number" && typeof y === "number") return direction * (x - y);
    // Cells without a number stay at the end, whatever the order.
    if (typeof x === "number") return -1;
    if (typeof y === "number") return 1;
    return direction * x.localeCompare(y, undefined, { numeric: true }); // layer 2 before layer 10
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
});
