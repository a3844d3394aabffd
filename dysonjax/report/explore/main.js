// The explorer: one state, drawn anew at every change.
const host = document.getElementById("explore");
const state = { quantity: null, spectrum: 0, record: null, newest: null, place: [], cursor: null, seed: null, open: false };
let data = null;

function load(found) {
  data = found;
  state.place = data.axes.map((axis, i) => Math.min(state.place[i] || 0, axis.values.length - 1));
  const last = data.records.values.length - 1;
  const newest = reached(last), follows = state.record === null || state.record === state.newest;
  state.record = follows ? newest : Math.min(state.record, last);
  state.newest = newest;
  const names = quantities().map(({ name }) => name);
  if (!names.includes(state.quantity)) state.quantity = names[0] || null;
  state.spectrum = Math.min(state.spectrum, Math.max(data.spectra.length - 1, 0));
  if (state.seed !== null && state.seed >= data.shown) state.seed = null;
  if (!mapAxes().length) state.open = true;
  draw();
}

// The last record that some network has reached: a run may be under way.
function reached(last) {
  const packed = (data.observables.find(({ name }) => name === "train_loss") || data.observables[0] || {}).count;
  if (!packed) return last;
  const points = packed.shape[0];
  for (let r = last; r > 0; r--) for (let p = 0; p < points; p++) if (at(packed, p, r) > 0) return r;
  return 0;
}

function quantities() {
  const phases = data.phases ? [{ name: "phase", label: "phase of most seeds" }] : [];
  return [...phases, ...data.observables];
}

// The axes of the map, [across, up]: widths across and learning rates up where both vary.
function mapAxes() {
  const many = data.axes.map((axis, i) => i).filter((i) => data.axes[i].values.length > 1);
  const rank = (i) => ["sigma_w", "lr", "batch_size"].indexOf(data.axes[i].name);
  many.sort((a, b) => (rank(a) < 0 ? 9 : rank(a)) - (rank(b) < 0 ? 9 : rank(b)));
  return many.slice(0, 2);
}

// The index of a point from those of its axes, the last fastest.
const pointOf = (place) => place.reduce((sum, index, i) => sum * data.axes[i].values.length + index, 0);

// With phases the map is that of the papers: inverse disorder across, temperature up.
function axisOf(i) {
  if (i === undefined) return { label: "", order: [0], texts: [""] };
  const axis = data.axes[i], inverse = data.phases && axis.name === "sigma_w";
  const shown = axis.values.map((value) => (inverse ? 1 / value : value));
  const order = shown.map((_, k) => k).sort((a, b) => shown[a] - shown[b]);
  const symbol = { lr: "α", sigma_w: inverse ? "1/σ_W" : "σ_W", batch_size: "|B|" }[axis.name] || axis.name;
  return { label: symbol, order, texts: order.map((k) => text(shown[k], 3)) };
}

function placeName(place) {
  const parts = data.axes.map((axis, i) => {
    const symbol = { lr: "α", sigma_w: "σ_W", batch_size: "|B|" }[axis.name] || axis.name;
    return `${symbol} = ${text(axis.values[place[i]], 5)}`;
  });
  const find = (name) => data.axes.findIndex((axis) => axis.name === name);
  const [lr, size] = [find("lr"), find("batch_size")];
  if (lr >= 0 && size >= 0) parts.push(
    `T = α/|B| = ${text(data.axes[lr].values[place[lr]] / data.axes[size].values[place[size]], 4)}`);
  return parts.join(", ");
}

function describe(place) {
  const point = pointOf(place), name = state.quantity;
  const where = placeName(place);
  if (name === null) return where;
  const phase = data.phases ? at(data.phases.point, point, state.record) : NaN;
  const word = Number.isNaN(phase) ? "" : `; ${data.phases.names[phase]}`;
  if (name === "phase") return `${where}${word}`;
  const packed = data.observables.find((observable) => observable.name === name);
  const [low, median, high, count] = ["low", "median", "high", "count"].map((key) => at(packed[key], point, state.record));
  return `${where}: ${name} ${text(median)} (${text(low)} … ${text(high)}), ${text(whole(count))} networks${word}`;
}

function change(changes) {
  Object.assign(state, changes);
  draw();
}

function slider(title, count, value, say, set) {
  if (count < 2) return null;
  const shown = element("output", {}, say(value));
  return element("label", { class: "slider" }, element("span", {}, `${title} `, shown),
    element("input", { type: "range", min: 0, max: count - 1, step: 1, value, "data-slider": title,
      "aria-valuetext": say(value), oninput: (event) => set(Number(event.target.value)) }));
}

function chooser(title, options, value, set) {
  if (options.length < 2) return null;
  const select = element("select", { "data-select": title, onchange: (event) => set(event.target.value) },
    ...options.map(([key, label]) => element("option", { value: key, selected: String(key) === String(value) }, label)));
  return element("label", { class: "chooser" }, element("span", {}, title), select);
}

function controls(across) {
  const recordName = (r) => (data.records.names ? data.records.names[r] : text(data.records.values[r], 7));
  const others = data.axes.map((axis, i) => i).filter((i) => data.axes[i].values.length > 1 && !across.includes(i));
  return element("div", { class: "controls" },
    across.length ? chooser("colour", quantities().map(({ name, label }) => [name, `${name.replaceAll("_", " ")} – ${label}`]),
      state.quantity, (quantity) => change({ quantity })) : null,
    chooser("spectrum", data.spectra.map(({ name, label }, i) => [i, `${name.replaceAll("_", " ")} – ${label}`]),
      state.spectrum, (value) => change({ spectrum: Number(value) })),
    slider(data.records.label, data.records.values.length, state.record, recordName, (record) => change({ record })),
    ...others.map((i) => slider(data.axes[i].label, data.axes[i].values.length, state.place[i],
      (k) => data.axes[i].texts[k], (k) => change({ place: state.place.with ? state.place.with(i, k)
        : state.place.map((old, j) => (j === i ? k : old)) }))));
}

function drawMap(across, width) {
  const [column, row] = across.map(axisOf).concat([axisOf(undefined)]).slice(0, 2);
  const placeAt = (r, c) => state.place.map((index, i) => (
    i === across[0] ? column.order[c] : i === across[1] ? row.order[r] : index));
  const find = (order, axis) => (axis === undefined ? 0 : order.indexOf(state.place[axis]));
  const selected = [find(row.order, across[1]), find(column.order, across[0])];
  const packed = state.quantity === "phase" ? data.phases.point
    : data.observables.find(({ name }) => name === state.quantity).median;
  const values = row.order.map((_, r) => column.order.map((_, c) => at(packed, pointOf(placeAt(r, c)), state.record)));
  const shades = scale(values.flat(), 0, 1);
  const paint = (value) => (Number.isNaN(value) ? "var(--missing)"
    : state.quantity === "phase" ? data.phases.colours[value] : colour(shades.place(value)));
  const lines = boundaryLines(across, column, row);
  const reading = element("output", { class: "reading", id: "explore-reading" },
    state.cursor ? describe(placeAt(...state.cursor)) : "A click on a cell, or Enter, shows what its networks did.");
  const picture = map({
    columns: column, rows: row, values, paint, width, cursor: state.cursor, selected: state.open ? selected : null,
    label: `map of ${state.quantity}`, lines, describe: (r, c) => describe(placeAt(r, c)),
    choose: (r, c) => change({ place: placeAt(r, c), cursor: [r, c], open: true, seed: null }),
    move: (r, c, drawn) => {
      if (drawn) change({ cursor: [r, c] });
      else reading.textContent = describe(placeAt(r, c));
    } });
  return element("div", { class: "map-and-key" }, picture, key(shades), keyOfLines(lines), reading);
}

// A number's place among the ascending values of an axis, straight in logarithms; at its ends half a cell further.
function placeAmong(values, wanted) {
  const last = values.length - 1;
  if (wanted === null) return NaN;
  if (wanted === 0) return -0.5;
  if (wanted === "top") return last + 0.5;
  const above = values.findIndex((value) => value >= wanted), i = above < 0 ? last : Math.max(above, 1);
  const found = last > 0 ? i - 1 + Math.log(wanted / values[i - 1]) / Math.log(values[i] / values[i - 1])
    : Math.log2(wanted / values[0]);
  return found < -0.5 || found > last + 0.5 ? NaN : found;
}

// Lines between the phases, over a map of 1/σ_W and α: their points as columns and rows of the map.
function boundaryLines(across, column, row) {
  const [sigma, lr] = across.map((i) => data.axes[i]), size = data.axes.findIndex(({ name }) => name === "batch_size");
  if (!data.boundaries.length || !lr || sigma.name !== "sigma_w" || lr.name !== "lr") return [];
  const widths = column.order.map((k) => 1 / sigma.values[k]), rates = row.order.map((k) => lr.values[k]);
  const batch = size < 0 ? 1 : data.axes[size].values[state.place[size]];
  return data.boundaries.map(({ name, label, points }) => ({ name, label,
    points: points[size < 0 ? 0 : state.place[size]].map(([width, t]) => [placeAmong(widths, width),
      placeAmong(rates, typeof t === "number" ? t * batch : t)]) })).filter(({ points }) =>
    points.filter(([c, r]) => !Number.isNaN(c) && !Number.isNaN(r)).length > 1);
}

function keyOfLines(lines) {
  if (!lines.length) return null;
  return element("p", { class: "key" }, ...lines.map(({ name, label }) => element("span", {},
    svg("svg", { width: 26, height: 8, "aria-hidden": "true" }, svg("path", { class: `boundary ${name}`, d: "M0 4L26 4" })),
    label)));
}

function key(shades) {
  if (state.quantity === "phase") return element("p", { class: "key" }, ...data.phases.names.map((name, i) =>
    element("span", {}, element("i", { style: `background: ${data.phases.colours[i]}` }), name)));
  const steps = Array.from({ length: 10 }, (_, i) => colour(i / 9)).join(",");
  // Where there is one quantity alone, no chooser says what the colours mean.
  const [only, ...more] = quantities();
  const name = more.length ? "" : element("span", { style: "flex-basis: 100%" },
    `colour: ${only.name.replaceAll("_", " ")}, ${only.label}`);
  return element("p", { class: "key" }, name, text(shades.low, 3),
    element("i", { class: "ramp", style: `background: linear-gradient(90deg, ${steps})` }), text(shades.high, 3),
    shades.logarithmic ? " (logarithmic)" : "");
}

function draw() {
  // The same control keeps the focus although everything is drawn anew.
  const focused = document.activeElement, wanted = focused && host.contains(focused)
    ? ["data-slider", "data-select"].map((name) => focused.getAttribute(name) && `[${name}="${
      CSS.escape(focused.getAttribute(name))}"]`).find(Boolean) || (focused.classList.contains("map") ? ".map" : null)
    : null;
  const width = Math.max(host.clientWidth, 280), across = mapAxes(), point = pointOf(state.place);
  const place = (packed, p, r, ...rest) => [p, r, ...rest];
  const parts = [element("h2", {}, "Explore"), controls(across)];
  if (across.length) parts.push(drawMap(across, Math.min(width, 720)));
  if (state.open) {
    const name = placeName(state.place);
    if (name) parts.push(element("h3", { id: "explore-place" }, name));
    parts.push(panel({ data, state, point, place, width, redraw: change }));
  }
  if (data.notes.length) parts.push(element("p", { class: "note" }, data.notes.join(" ")));
  parts.push(element("p", { class: "note" }, `Lines are medians over ${data.members}s, bands 16 to 84 %. Numbers here `
    + `are good to three or four digits; ${data.file} has all of them.`));
  host.replaceChildren(...parts.filter(Boolean));
  if (wanted) host.querySelector(wanted)?.focus();
}

const embedded = document.getElementById("explore-data");
if (host && embedded) {
  load(JSON.parse(embedded.textContent));
  let drawnAt = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth !== drawnAt) { drawnAt = host.clientWidth; draw(); }
  }).observe(host);
}
