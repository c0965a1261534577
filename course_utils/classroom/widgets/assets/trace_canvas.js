// The timeline itself: lanes of events on a canvas. Times in seconds, lengths in CSS pixels.
const LANE = 18, HEAD = 17, AXIS = 24, SIDE = 8;

/** Where each lane begins, and the height of all. `tracks`: [name, on a device, lanes]. */
function laneTops(tracks) {
  const tops = [], heads = [];
  let y = AXIS;
  for (const [name, , lanes] of tracks) {
    heads.push([name, y]);
    y += HEAD;
    for (let i = 0; i < lanes; i++, y += LANE) tops.push(y);
    y += 6;
  }
  return { tops, heads, height: y };
}

/** The events that Python sent: six arrays of 32-bit numbers, one after the other. */
function unpacked(view) {
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const n = bytes.byteLength / 24;
  const part = (Type, i) => new Type(bytes, 4 * n * i, n);
  const [left, width] = [part(Float32Array, 0), part(Float32Array, 1)];
  return { n, left, width, lane: part(Uint32Array, 2), name: part(Uint32Array, 3), event: part(Uint32Array, 4), count: part(Uint32Array, 5) };
}

/** A step of 1, 2 or 5 times a power of ten, so that a span has about `n` of them. */
function niceStep(span, n) {
  const rough = span / n, power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
}

/** Draw everything, unless the page is hidden; `state` has tracks, names, colors, window, drawn, events, found, chosen. */
function paint(canvas, state) {
  const width = canvas.clientWidth, { tops, heads, height } = laneTops(state.tracks);
  if (!width) return;
  const dots = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dots);
  canvas.height = Math.round(height * dots);
  canvas.style.height = `${height}px`;
  const ink = getComputedStyle(canvas).color, pen = canvas.getContext("2d");
  pen.scale(dots, dots);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const scale = across(canvas, state);
  paintAxis(pen, state, width, height, ink, scale);
  pen.fillStyle = ink;
  for (const [name, y] of heads) pen.fillText(name, SIDE, y + HEAD / 2);
  paintEvents(pen, state, width, tops, ink);
}

/** From seconds to pixels. */
function across(canvas, { window: [low, high] }) {
  const width = canvas.clientWidth - 2 * SIDE;
  return (seconds) => SIDE + ((seconds - low) / (high - low)) * width;
}

function paintAxis(pen, { window: [low, high] }, width, height, ink, scale) {
  const step = niceStep(high - low, Math.max(2, width / 110));
  pen.strokeStyle = ink;
  pen.fillStyle = ink;
  pen.textAlign = "center";
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    pen.globalAlpha = 0.15;
    pen.beginPath();
    pen.moveTo(scale(at), AXIS - 6);
    pen.lineTo(scale(at), height);
    pen.stroke();
    pen.globalAlpha = 1;
    const x = Math.min(width - 30, Math.max(30, scale(at)));
    pen.fillText(tickText(at, step, high), x, 9);
  }
  pen.textAlign = "left";
}

/** A time on the axis, with as many decimals as tell it from its neighbours. */
function tickText(at, step, high) {
  if (Math.abs(at) < step / 1e3) return "0";
  const [unit, scale] = [["s", 1], ["ms", 1e-3], ["µs", 1e-6]].find(([, size]) => high >= size) ?? ["ns", 1e-9];
  const decimals = Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9));
  return `${(at / scale).toFixed(decimals)} ${unit}`;
}

function paintEvents(pen, state, width, tops, ink) {
  const { events, names, colors, drawn, window: [low, high], found, chosen } = state;
  if (!events || !events.n) return;
  const span = high - low, room = width - 2 * SIDE;
  const searched = found.names?.length ? new Set(found.names) : null;
  for (let i = 0; i < events.n; i++) {
    const start = drawn[0] + events.left[i] * (drawn[1] - drawn[0]);
    const length = events.width[i] * (drawn[1] - drawn[0]);
    const x = SIDE + ((start - low) / span) * room, wide = Math.max(1, (length / span) * room);
    if (x + wide < SIDE || x > width - SIDE || events.lane[i] >= tops.length) continue;
    const from = Math.max(SIDE, x), to = Math.min(width - SIDE, x + wide), y = tops[events.lane[i]];
    const [name, kind] = names[events.name[i]];
    pen.globalAlpha = searched && !searched.has(events.name[i]) ? 0.15 : 1;
    pen.fillStyle = colors[kind];
    pen.fillRect(from, y, Math.max(1, to - from - (to - from > 3 ? 1 : 0)), LANE - 2);
    if (to - from > 34 && pen.globalAlpha === 1) {
      pen.fillStyle = state.inks[kind];
      pen.fillText(fitted(name.replace(/^aten::/, ""), to - from - 6), from + 3, y + LANE / 2 - 1);
    }
    if (events.event[i] === chosen && events.count[i] === 1) {
      pen.strokeStyle = ink;
      pen.lineWidth = 2.5;
      pen.strokeRect(from - 1, y - 1, Math.max(3, to - from + 1), LANE);
      pen.lineWidth = 1;
    }
  }
  pen.globalAlpha = 1;
}

/** As much of a text as fits, by its average width. */
function fitted(text, width) {
  const most = Math.floor(width / 6.2);
  return text.length <= most ? text : most > 3 ? `${text.slice(0, most - 1)}…` : "";
}

/** The event under a point, its index in `state.events`, or -1; narrow ones are easier to hit than they look. */
function eventAt(canvas, state, x, y) {
  const { tops } = laneTops(state.tracks), lane = tops.findIndex((top) => y >= top && y < top + LANE);
  const { events, drawn } = state, scale = across(canvas, state);
  let best = -1, nearest = 4;
  for (let i = 0; lane >= 0 && i < (events?.n ?? 0); i++) {
    if (events.lane[i] !== lane) continue;
    const start = drawn[0] + events.left[i] * (drawn[1] - drawn[0]);
    const end = start + events.width[i] * (drawn[1] - drawn[0]);
    const off = Math.max(scale(start) - x, x - scale(end), 0);
    if (off < nearest) [best, nearest] = [i, off];
  }
  return best;
}
