// Elements, scales and line charts; all text goes in as text, never as HTML.
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:")
    ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.startsWith("aria-")) made.setAttribute(key, value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const svg = (name, attributes, ...children) => element(`svg:${name}`, attributes, ...children);

// From values to pixels; logarithmic where all is positive and spans more than two decades.
function scale(values, first, last) {
  let low = Infinity, high = -Infinity, smallest = Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
    if (value > 0) smallest = Math.min(smallest, value);
  }
  if (low > high) [low, high] = [0, 1];
  const logarithmic = low > 0 && high > 100 * low;
  if (low === high) [low, high] = logarithmic || low === 0 ? [low - 0.5, high + 0.5]
    : [low - 0.05 * Math.abs(low), high + 0.05 * Math.abs(high)];
  const bend = logarithmic ? Math.log : (value) => value;
  const span = bend(high) - bend(low);
  const place = (value) => first + ((bend(value) - bend(low)) / span) * (last - first);
  return { place, low, high, logarithmic, ticks: ticks(low, high, logarithmic) };
}

function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((last - first + 1) / 5));
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
      .filter((power) => (power - first) % every === 0).map((power) => 10 ** power);
  }
  const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * ([1, 2, 5, 10].find((factor) => factor * unit >= raw) || 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

// The text of a tick, with the digits that tell it from its neighbours.
function tickText(value, all) {
  const size = Math.abs(value), step = all.length > 1 ? Math.abs(all[1] - all[0]) : size;
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(0).replace("e+", "e");
  return text(value, Math.max(3, 1 + Math.ceil(Math.log10(Math.max(size, step) / step))));
}

// Lines over records. lines: [{values, kind}], bands: [{low, high}], levels: dotted horizontal values.
// A click or a touch moves the record; the reading below says what stands at the pointer.
function chart({ title, records, lines, bands = [], levels = [], record, width, height, choose, read }) {
  const margin = { left: 46, right: 18, top: 6, bottom: 20 };
  const all = [...lines, ...bands.flatMap((b) => [{ values: b.low }, { values: b.high }])];
  const y = scale([...all.flatMap((line) => line.values), ...levels], height - margin.bottom, margin.top);
  const x = records.names
    ? { place: (i) => margin.left + ((i + 0.5) / records.names.length) * (width - margin.left - margin.right) }
    : scale(records.values, margin.left, width - margin.right);
  const across = records.values.map((value, i) => x.place(records.names ? i : value));
  const known = (value) => Number.isFinite(value) && (!y.logarithmic || value > 0);
  const path = (values) => values.map((value, i) => [across[i], y.place(value), known(value)])
    .reduce((sum, [px, py, draw], i, list) => (draw
      ? `${sum}${i && list[i - 1][2] ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}` : sum), "");
  const picture = svg("svg", { width, height, role: "img", "aria-label": title, class: "chart" });
  for (const value of y.ticks) {
    const py = y.place(value);
    picture.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: py, y2: py }),
      svg("text", { x: margin.left - 4, y: py + 4, "text-anchor": "end" }, tickText(value, y.ticks)));
  }
  if (records.names) {
    records.names.forEach((name, i) => picture.append(
      svg("text", { x: across[i], y: height - 5, "text-anchor": "middle" }, name.split(" ")[0].slice(0, 9))));
  } else {
    for (const value of x.ticks) picture.append(
      svg("text", { x: x.place(value), y: height - 5, "text-anchor": "middle" }, tickText(value, x.ticks)));
  }
  for (const { low, high } of bands) {
    const there = low.map((value, i) => i).filter((i) => known(low[i]) && known(high[i]));
    if (there.length > 1) picture.append(svg("path", { class: "band", d: [
      ...there.map((i, k) => `${k ? "L" : "M"}${across[i].toFixed(1)} ${y.place(high[i]).toFixed(1)}`),
      ...there.reverse().map((i) => `L${across[i].toFixed(1)} ${y.place(low[i]).toFixed(1)}`)].join("") + "Z" }));
  }
  for (const value of levels) if (known(value)) picture.append(svg("line", {
    class: "target", x1: margin.left, x2: width - margin.right, y1: y.place(value), y2: y.place(value) }));
  for (const line of lines) {
    if (records.names || records.values.length === 1) line.values.forEach((value, i) => known(value)
      && picture.append(svg("circle", { class: "line", cx: across[i], cy: y.place(value), r: 2.5 })));
    else picture.append(svg("path", { class: "line", d: path(line.values) }));
  }
  picture.append(svg("line", { class: "now", x1: across[record], x2: across[record], y1: margin.top,
    y2: height - margin.bottom }));
  const reading = element("output", { class: "reading" }, read(record, null));
  const nearest = (event) => {
    const px = event.clientX - picture.getBoundingClientRect().left;
    return across.reduce((best, ax, i) => (Math.abs(ax - px) < Math.abs(across[best] - px) ? i : best), 0);
  };
  picture.addEventListener("pointermove", (event) => {
    const py = event.clientY - picture.getBoundingClientRect().top, i = nearest(event);
    const distance = (line) => (known(line.values[i]) ? Math.abs(y.place(line.values[i]) - py) : Infinity);
    const line = lines.reduce((best, _, k) => (distance(lines[k]) < distance(lines[best]) ? k : best), 0);
    reading.textContent = read(i, line);
  });
  picture.addEventListener("pointerleave", () => { reading.textContent = read(record, null); });
  picture.addEventListener("click", (event) => choose(nearest(event)));
  return element("figure", { class: "plot", style: `width: ${width}px` }, element("figcaption", {}, title), picture, reading);
}

// A histogram with equal bins from low to high, targets as dotted lines.
function histogram({ title, counts, low, high, levels, width, height }) {
  const margin = { left: 18, right: 18, top: 6, bottom: 20 };
  const total = counts.reduce((sum, n) => sum + n, 0), most = Math.max(...counts, 1);
  const picture = svg("svg", { width, height, role: "img", "aria-label": title, class: "chart" });
  const reading = element("output", { class: "reading" }, total ? `${total} levels` : "no levels here");
  if (!total) return element("figure", { class: "plot", style: `width: ${width}px` }, element("figcaption", {}, title), picture, reading);
  const x = scale([low, high, ...levels], margin.left, width - margin.right);
  const linear = { ...x, ...(x.logarithmic ? straight(x, margin.left, width - margin.right) : {}) };
  const step = (high - low) / counts.length, base = height - margin.bottom;
  counts.forEach((count, i) => {
    const from = linear.place(low + i * step), to = linear.place(low + (i + 1) * step);
    const tall = (count / most) * (base - margin.top);
    picture.append(svg("rect", { class: "bar", x: from, y: base - tall, width: Math.max(to - from - 0.5, 0.5),
      height: tall }));
  });
  for (const value of levels) if (Number.isFinite(value)) picture.append(svg("line", { class: "target",
    x1: linear.place(value), x2: linear.place(value), y1: margin.top, y2: base }));
  for (const value of linear.ticks) picture.append(
    svg("text", { x: linear.place(value), y: height - 5, "text-anchor": "middle" }, tickText(value, linear.ticks)));
  picture.addEventListener("pointermove", (event) => {
    const px = event.clientX - picture.getBoundingClientRect().left;
    const bin = Math.floor((px - linear.place(low)) / (linear.place(low + step) - linear.place(low)));
    if (bin >= 0 && bin < counts.length) reading.textContent =
      `${text(low + bin * step)} … ${text(low + (bin + 1) * step)}: ${counts[bin]} of ${total} levels`;
  });
  picture.addEventListener("pointerleave", () => { reading.textContent = `${total} levels`; });
  return element("figure", { class: "plot", style: `width: ${width}px` }, element("figcaption", {}, title), picture, reading);
}

// The scale with equal distances, whatever it spans: bins are equal.
function straight({ low, high }, first, last) {
  return { place: (value) => first + ((value - low) / (high - low)) * (last - first), ticks: ticks(low, high, false) };
}
