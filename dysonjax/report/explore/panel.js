// What one point of the grid did: phases of its seeds, levels, their density, observables, its command.
function panel({ data, state, point, place, width, redraw }) {
  const { records } = data, spectrum = data.spectra[state.spectrum], record = state.record;
  const seed = state.seed;
  const series = (packed, ...rest) => records.values.map((_, r) => at(packed, ...place(packed, point, r, ...rest)));
  const ofSeed = (packed, ...rest) => records.values.map((_, r) => at(packed, point, seed, r, ...rest));
  const when = (r) => (records.names ? records.names[r] : `${records.label} ${text(records.values[r], 7)}`);
  const choose = (r) => redraw({ record: r });
  const wide = Math.min(width, 1000), half = wide > 620 ? Math.floor((wide - 18) / 2) : wide;
  const plots = element("div", { class: "plots" });
  if (spectrum) {
    const lines = spectrum.modes.map((mode, m) => ({
      mode, values: seed === null ? series(spectrum.median, m) : ofSeed(spectrum.members, m) }));
    const bands = seed === null
      ? spectrum.modes.map((_, m) => ({ low: series(spectrum.low, m), high: series(spectrum.high, m) })) : [];
    const targets = spectrum.targets ? spectrum.modes.map((_, m) => at(spectrum.targets, point, m)) : [];
    plots.append(chart({
      title: spectrum.label, records, lines, bands, levels: targets, record, width: half, height: 230, choose,
      read: (r, line) => (line === null ? `${when(r)}: ${text(lines[0].values[r])} … ${
        text(lines[lines.length - 1].values[r])}` : `${when(r)}: mode ${lines[line].mode} at ${
        text(lines[line].values[r], 5)}`) }));
    const bins = spectrum.density.counts.shape[2];
    plots.append(histogram({
      title: `density at ${when(record)}, all ${data.members}s`, levels: targets, width: half, height: 230,
      counts: Array.from({ length: bins }, (_, i) => at(spectrum.density.counts, point, record, i)).map(whole),
      low: at(spectrum.density.low, point, record), high: at(spectrum.density.high, point, record) }));
  }
  for (const observable of data.observables) {
    const lines = [{ values: seed === null ? series(observable.median) : ofSeed(observable.members) }];
    const low = series(observable.low), high = series(observable.high);
    plots.append(chart({
      title: observable.label, records, lines, bands: seed === null ? [{ low, high }] : [], record,
      width: half, height: 150, choose,
      read: (r) => `${when(r)}: ${text(lines[0].values[r], 5)}${
        seed === null ? ` (${text(low[r])} … ${text(high[r])})` : ""}` }));
  }
  return element("div", { class: "details" }, seedStrip(data, state, point, redraw), plots,
    commandOf(data, state));
}

const whole = (count) => (Number.isFinite(count) ? Math.round(count) : 0);

// A button a seed, coloured by its phase; those that are embedded show their own course.
function seedStrip(data, state, point, redraw) {
  const strip = element("div", { class: "seeds", role: "group", "aria-label": `${data.members}s of this point` });
  const all = element("button", { type: "button", "aria-pressed": state.seed === null,
    onclick: () => redraw({ seed: null }) }, `all ${data.members}s`);
  strip.append(all);
  const counts = {};
  data.seeds.slice(0, Math.max(data.shown, 400)).forEach((seed, i) => {
    const phase = data.phases ? at(data.phases.member, point, i) : NaN;
    const name = data.phases && !Number.isNaN(phase) ? data.phases.names[phase] : null;
    if (name) counts[name] = (counts[name] || 0) + 1;
    if (!data.phases && i >= data.shown) return;
    const frozen = at(data.diverged, point, i);
    const about = `${data.members} ${seed}${name ? `: ${name}` : ""}${
      Number.isNaN(frozen) ? "" : `, diverged at step ${whole(frozen)}`}`;
    strip.append(element("button", { type: "button", class: "seed", title: about, "aria-label": about,
      disabled: i >= data.shown, "aria-pressed": state.seed === i,
      style: name ? `background: ${data.phases.colours[phase]}; color: #1b1f24` : null,
      onclick: () => redraw({ seed: state.seed === i ? null : i }) }, String(seed)));
  });
  const said = Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(", ");
  const frozen = data.seeds.filter((_, i) => !Number.isNaN(at(data.diverged, point, i))).length;
  return element("div", {}, element("p", { class: "counts" },
    `${data.seeds.length} ${data.members}${data.seeds.length === 1 ? "" : "s"}${said ? `: ${said} at the end` : ""}${
      frozen ? `; ${frozen} diverged` : ""}`), strip);
}

function commandOf(data, state) {
  if (!data.command) return null;
  const words = data.command.map((part) => {
    if (typeof part === "string") return part;
    const axis = data.axes.findIndex(({ name }) => name === part.axis);
    return axis < 0 ? "" : data.axes[axis].texts[state.place[axis]];
  }).join("");
  const said = element("span", { role: "status" });
  const copy = element("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(words);
      said.textContent = " copied";
    } catch {
      getSelection().selectAllChildren(code);
      said.textContent = " selected; copy it with the keyboard";
    }
  } }, "copy");
  const code = element("code", { id: "explore-command" }, words);
  return element("div", { class: "cell-command" }, element("h4", {}, "Do just this again ", copy, said),
    element("pre", {}, code));
}
