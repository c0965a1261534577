// Sliders, and the plane they move the blocks on.
const WIDE = 860, TALL = 400, LEFT = 70, RIGHT = 14, TOP = 14, BOTTOM = 44;

function render({ model, el, signal }) {
  const plane = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  plane.setAttribute("viewBox", `0 0 ${WIDE} ${TALL}`);
  plane.setAttribute("role", "img");
  const told = element("div", { "aria-live": "polite" }), rows = element("div"), note = element("p", { class: "quiet", role: "status" });
  const title = element("h4", {}, "Roofline explorer: the U-Net's forward pass");
  const sliders = element("div", { class: "sliders" }), bar = element("div", { class: "row" });
  const updates = [
    slider(model, sliders, "batch", "batches", "batch (images)"),
    slider(model, sliders, "width", "widths", "width of the net"),
    slider(model, sliders, "reduction", "reductions", "bottleneck", (value) => (value === 1 ? "none" : `÷ ${value}`)),
    box(model, bar, "unfold", "im2col"),
    pick(model, bar, "dtype", "dtypes", "number format"),
    pick(model, bar, "device", "devices", "device"),
  ];
  const ask = (action, name) => element("button", { type: "button", click: () => model.send({ action }) }, name);
  const colors = model.get("colors"), [here] = model.get("devices");
  const timing = ask("measure", "measure this here");
  bar.append(timing, ask("start", "back to the start"));

  const draw = () => {
    const scene = model.get("scene");
    updates.forEach((update) => update());
    plane.innerHTML = drawPlane(scene, Object.fromEntries(colors));
    plane.setAttribute("aria-label", `Roofline, ${scene.source}: ${scene.figures.calculated} calculated, most time bound by ${scene.whole.bound}`);
    told.replaceChildren(figures(scene.figures));
    rows.replaceChildren(element("strong", {}, "slowest blocks, calculated"),
      table(["block", "#time", "#share", "#FLOP/byte", "#traffic", "bound by"], scene.rows));
    timing.disabled = !scene.can_measure;
    timing.title = scene.can_measure ? "" : `${model.get("device")} is not here: choose ${here} to measure.`;
    note.textContent = model.get("note");
  };
  const names = [...colors.map(([name, shade]) => [`block bound by ${name}`, shade]), ["at the start", null]];
  el.append(frame("roofline", "Roofline explorer", title, sliders, bar, note, legend(names), plane, told, rows));
  follow(model, signal, ["scene", "note", "dtypes", "batch", "width", "dtype", "reduction", "device", "unfold"], draw);
  draw();
}

/** A slider over a list of values; Python hears each move. */
function slider(model, where, name, list, label, text = String) {
  const values = model.get(list), shown = element("output");
  const range = element("input", { type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label });
  range.addEventListener("input", () => tell(model, { [name]: values[range.value] }));
  where.append(element("label", {}, label, range, shown));
  return () => {
    range.value = values.indexOf(model.get(name));
    shown.textContent = text(model.get(name));
    range.setAttribute("aria-valuetext", shown.textContent);
  };
}

function pick(model, where, name, list, label) {
  const select = element("select", { "aria-label": label });
  select.addEventListener("change", () => tell(model, { [name]: select.value }));
  where.append(element("label", {}, label, select));
  return () => {
    const values = model.get(list);
    if (select.options.length !== values.length || values.some((value, i) => select.options[i].value !== value)) {
      select.replaceChildren(...values.map((value) => element("option", { value }, value)));
    }
    select.value = model.get(name);
  };
}

function box(model, where, name, label) {
  const check = element("input", { type: "checkbox", "aria-label": label });
  check.addEventListener("change", () => tell(model, { [name]: check.checked }));
  where.append(element("label", {}, check, label));
  return () => (check.checked = model.get(name));
}

function drawPlane(scene, colors) {
  const [x0, x1] = scene.reach.map(Math.log10), [y0, y1] = scene.heights.map(Math.log10);
  const across = (value) => LEFT + ((Math.log10(value) - x0) / (x1 - x0)) * (WIDE - LEFT - RIGHT);
  const up = (value) => TALL - BOTTOM - ((Math.min(y1, Math.max(y0, Math.log10(value))) - y0) / (y1 - y0)) * (TALL - TOP - BOTTOM);
  const dot = ({ name, x, y, bound, share, time }, look) =>
    `<circle cx="${across(x).toFixed(1)}" cy="${up(y).toFixed(1)}" r="${(4 + 26 * Math.sqrt(share)).toFixed(1)}" ${look(bound)}><title>${escaped(name)}: ${time}, ${x.toFixed(1)} FLOP/byte, bound by ${bound}</title></circle>`;
  const solid = (bound) => `fill="${colors[bound]}" fill-opacity="0.75" stroke="var(--paper)"`;
  const hollow = () => `fill="none" stroke="currentColor" stroke-opacity="0.35"`;
  const before = scene.before.map((one) => dot(one, hollow)).join("");
  const now = [...scene.spots].sort((a, b) => b.share - a.share).map((one) => dot(one, solid)).join("");
  return grid(scene, across, up) + roofs(scene, across, up) + before + now + marks(scene, across, up);
}

function grid({ reach, heights }, across, up) {
  let made = "";
  for (let power = Math.ceil(Math.log10(reach[0])); 10 ** power <= reach[1]; power++) {
    const x = across(10 ** power);
    made += `<line x1="${x}" x2="${x}" y1="${TOP}" y2="${TALL - BOTTOM}" stroke="currentColor" stroke-opacity="0.12"/>`;
    made += `<text x="${x}" y="${TALL - BOTTOM + 16}" text-anchor="middle" fill="currentColor">${10 ** power}</text>`;
  }
  for (let power = Math.ceil(Math.log10(heights[0])); 10 ** power <= heights[1]; power++) {
    const y = up(10 ** power);
    made += `<line x1="${LEFT}" x2="${WIDE - RIGHT}" y1="${y}" y2="${y}" stroke="currentColor" stroke-opacity="0.12"/>`;
    made += `<text x="${LEFT - 6}" y="${y + 4}" text-anchor="end" fill="currentColor">${rateText(10 ** power)}</text>`;
  }
  const middle = (LEFT + WIDE - RIGHT) / 2;
  made += `<text x="${middle}" y="${TALL - 8}" text-anchor="middle" fill="currentColor">arithmetic intensity (FLOP/byte)</text>`;
  return `${made}<text transform="translate(13 ${TALL / 2 - 16}) rotate(-90)" text-anchor="middle" fill="currentColor">FLOP/s, calculated</text>`;
}

function roofs({ reach, flop_per_s, bytes_per_s, cache_bytes_per_s, heights }, across, up) {
  const line = (rate, look) => {
    const from = Math.max(reach[0], heights[0] / rate), ridge = flop_per_s / rate;
    const points = [[from, from * rate], [ridge, flop_per_s], [reach[1], flop_per_s]];
    return `<polyline points="${points.map(([x, y]) => `${across(x)},${up(y)}`).join(" ")}" fill="none" stroke="currentColor" ${look}/>`;
  };
  const cache = cache_bytes_per_s ? line(cache_bytes_per_s, 'stroke-dasharray="5 4" stroke-opacity="0.6"') : "";
  const name = (x, y, text, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="currentColor">${text}</text>`;
  const at = Math.max(reach[0], heights[0] / bytes_per_s) * 1.25;
  return cache + line(bytes_per_s, 'stroke-width="2"')
    + name(across(reach[1]) - 4, up(flop_per_s) - 6, `${rateText(flop_per_s)}FLOP/s`, "end")
    + name(across(at) + 8, up(at * bytes_per_s) + 14, `memory ${rateText(bytes_per_s)}B/s${cache ? ", dashed: cache" : ""}`, "start");
}

/** The whole network as a diamond, and what was measured as a cross. */
function marks({ whole, measured }, across, up) {
  const x = across(whole.x), y = up(whole.y), low = y + 40;
  let made = `<path d="M${x} ${y - 9} L${x + 9} ${y} L${x} ${y + 9} L${x - 9} ${y} Z" fill="currentColor" stroke="var(--paper)"><title>whole network, calculated: ${whole.time}</title></path>`;
  if (measured) {
    const [mx, my] = [across(measured.x), up(measured.y)];
    made += `<path class="measured" d="M${mx - 7} ${my - 7} L${mx + 7} ${my + 7} M${mx - 7} ${my + 7} L${mx + 7} ${my - 7}" stroke="currentColor" stroke-width="4"><title>measured: ${measured.time}</title></path>`;
    const beside = my + 5, clear = Math.abs(beside - low) < 16 ? low + (beside < low ? -16 : 16) : beside;
    made += `<text x="${mx + 13}" y="${clear}" fill="currentColor">measured</text>`;
  }
  return `${made}<text x="${x + 6}" y="${low}" fill="currentColor">whole network</text><line x1="${x}" x2="${x + 4}" y1="${y + 10}" y2="${y + 30}" stroke="currentColor"/>`;
}

function rateText(value) {
  for (const [prefix, size] of [["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= 0.9995 * size) return `${Number((value / size).toPrecision(3))} ${prefix}`;
  }
  return `${value} `;
}

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
export default { render };
