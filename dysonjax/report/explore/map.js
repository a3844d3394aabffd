// The map of the grid: a cell a point, coloured by its phase or by one of its numbers.
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
  "#b5de2b", "#fde725"].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));

function colour(part) {
  const place = Math.min(Math.max(part, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(place), 8);
  const mixed = VIRIDIS[i].map((c, k) => Math.round(c + (place - i) * (VIRIDIS[i + 1][k] - c)));
  return `rgb(${mixed.join(",")})`;
}

// values[row][column], rows from below. choose(row, column) is called by a click, a touch or Enter.
function map({ columns, rows, values, paint, describe, cursor, selected, width, choose, move, label, lines }) {
  const left = 56, bottom = 40, top = 4, right = 4;
  const cell = (width - left - right) / columns.texts.length;
  const high = Math.max(Math.min(cell, 38), 16), height = top + high * rows.texts.length + bottom;
  const picture = svg("svg", { width, height, tabindex: 0, role: "application", class: "map",
    "aria-label": `${label}. Arrow keys move, Enter shows a cell.`, "aria-describedby": "explore-reading" });
  const x = (column) => left + column * cell, y = (row) => top + (rows.texts.length - 1 - row) * high;
  values.forEach((line, row) => line.forEach((value, column) => {
    const square = svg("rect", { x: x(column), y: y(row), width: cell, height: high, class: "cell",
      fill: paint(value), "data-row": row, "data-column": column });
    square.append(svg("title", {}, describe(row, column)));
    picture.append(square);
  }));
  for (const { name, label: title, points } of lines) {
    const known = points.map(([c, r]) => (Number.isNaN(c) || Number.isNaN(r) ? null
      : `${(left + (c + 0.5) * cell).toFixed(1)} ${(top + (rows.texts.length - 0.5 - r) * high).toFixed(1)}`));
    const d = known.map((point, i) => (point ? (known[i - 1] ? "L" : "M") + point : "")).join("");
    for (const under of ["boundary under", `boundary ${name}`]) if (d) picture.append(svg("path", { class: under, d },
      svg("title", {}, title)));
  }
  const mark = (name, place) => place && picture.append(svg("rect", { class: name, x: x(place[1]) + 1,
    y: y(place[0]) + 1, width: Math.max(cell - 2, 1), height: high - 2 }));
  mark("selected", selected);
  mark("cursor", cursor);
  const every = Math.max(1, Math.ceil(40 / cell));
  columns.texts.forEach((value, i) => i % every === 0 && picture.append(svg("text",
    { x: x(i) + cell / 2, y: height - bottom + 14, "text-anchor": "middle" }, value)));
  const skip = Math.max(1, Math.ceil(14 / high));
  rows.texts.forEach((value, i) => i % skip === 0 && picture.append(svg("text",
    { x: left - 5, y: y(i) + high / 2 + 4, "text-anchor": "end" }, value)));
  picture.append(svg("text", { class: "axis", x: left + (width - left - right) / 2, y: height - 6,
    "text-anchor": "middle" }, columns.label));
  const middle = top + (high * rows.texts.length) / 2;
  picture.append(svg("text", { class: "axis", x: 11, y: middle, "text-anchor": "middle",
    transform: `rotate(-90 11 ${middle})` }, rows.label));
  const place = (event) => {
    const { row, column } = event.target.dataset;
    return row === undefined ? null : [Number(row), Number(column)];
  };
  picture.addEventListener("pointerover", (event) => { const at = place(event); if (at) move(...at, false); });
  picture.addEventListener("click", (event) => { const at = place(event); if (at) choose(...at); });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [row, column] = cursor || selected || [0, 0];
    if (step) move(Math.min(Math.max(row + step[0], 0), rows.texts.length - 1),
      Math.min(Math.max(column + step[1], 0), columns.texts.length - 1), true);
    else if (event.key === "Enter" || event.key === " ") choose(row, column);
    else return;
    event.preventDefault();
  });
  return picture;
}
