// Timeline, search, numbers of the window, kernels by cost, and the chosen event.
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "in", ArrowDown: "out", "+": "in", "=": "in", "-": "out", Home: "all", 0: "all", n: "next", p: "previous" };
const FOLLOWED = ["window", "events", "drawn", "numbers", "found", "detail", "chosen"];

function render({ model, el, signal }) {
  const state = {};
  for (const name of ["tracks", "names", "inks"]) state[name] = model.get(name);
  state.colors = Object.fromEntries(model.get("colors"));
  const canvas = element("canvas", { tabindex: 0, role: "application" });
  canvas.setAttribute("aria-label", "Timeline. Left and right move, up and down zoom, Home shows all, n and p choose an event.");
  const numbers = element("div", { "aria-live": "polite" }), costs = element("div"), detail = element("div", { class: "detail" });
  const found = element("span", { class: "quiet", role: "status" });

  const act = (action) => model.send({ action });
  const see = (low, high) => {
    state.window = [low, high];
    paint(canvas, state);
    clearTimeout(state.waiting);
    state.waiting = setTimeout(() => {
      state.waiting = null;
      tell(model, { window: [low, high] });
    }, 60);
  };
  listen(canvas, state, model, { act, see });

  const search = element("input", { type: "search", placeholder: "part of a name", "aria-label": "search events" });
  search.value = model.get("search");
  search.addEventListener("input", () => tell(model, { search: search.value }));
  search.addEventListener("keydown", (event) => event.key === "Enter" && act("match"));
  const look = (text) => {
    search.value = text;
    tell(model, { search: text });
  };

  const draw = () => {
    for (const name of ["drawn", "found", "chosen"]) state[name] = model.get(name);
    if (!state.waiting) state.window = model.get("window"); // else the reader has moved on meanwhile
    state.events = unpacked(model.get("events"));
    paint(canvas, state);
    found.textContent = state.found.said;
    drawNumbers(numbers, model.get("numbers"));
    drawCosts(costs, model.get("numbers"), look);
    drawDetail(detail, model.get("detail"));
  };
  const bar = toolbar(model, act, see, search, found);
  const lower = element("div", { class: "columns" }, costs, detail);
  const scroll = element("div", { class: "scroll" }, canvas);
  const present = model.get("colors").filter(([kind]) => state.names.some(([, own]) => own === kind));
  const parts = [element("h4", {}, model.get("title")), bar, legend(present), scroll, numbers, lower];
  el.append(frame("trace", `Trace explorer: ${model.get("title")}`, ...parts));
  follow(model, signal, FOLLOWED, draw);
  const resized = new ResizeObserver(() => paint(canvas, state));
  resized.observe(canvas.parentElement);
  // A canvas does not follow the theme by itself, and the page is hidden for a while until a theme's colours are there.
  const later = () => [50, 300, 1000, 3000].forEach((ms) => setTimeout(() => paint(canvas, state), ms));
  const themed = new MutationObserver(later);
  themed.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  signal?.addEventListener("abort", () => [resized, themed].forEach((observer) => observer.disconnect()));
  draw();
}

function toolbar(model, act, see, search, found) {
  const names = { "◀": "left", "▶": "right", "+": "in", "−": "out", All: "all" };
  const spoken = { left: "move left", right: "move right", in: "zoom in", out: "zoom out", all: "show all" };
  const buttons = Object.entries(names).map(([sign, action]) =>
    element("button", { type: "button", "aria-label": spoken[action], title: spoken[action], click: () => act(action) }, sign));
  const places = model.get("places");
  const choose = element("select", { "aria-label": "go to a step" }, element("option", { value: "" }, "go to …"));
  places.forEach(([name], i) => choose.append(element("option", { value: i }, name)));
  choose.addEventListener("change", () => choose.value !== "" && see(places[choose.value][1], places[choose.value][2]));
  const find = element("label", {}, "search", search);
  const next = element("button", { type: "button", click: () => act("match") }, "next match");
  return element("div", { class: "row" }, ...buttons, ...(places.length ? [choose] : []), find, next, found);
}

function listen(canvas, state, model, { act, see }) {
  let held = null;
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    act(action);
  });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    held = { from: event.clientX, window: state.window, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) {
      const under = eventAt(canvas, state, ...at(event));
      canvas.title = under < 0 ? "" : state.names[state.events.name[under]][0];
      return;
    }
    const [low, high] = held.window, span = model.get("span_s");
    const shift = Math.max(-low, Math.min(span - high, ((held.from - event.clientX) / canvas.clientWidth) * (high - low)));
    held.moved ||= Math.abs(event.clientX - held.from) > 3;
    if (held.moved) see(low + shift, high + shift);
  });
  canvas.addEventListener("pointerup", (event) => {
    const under = held && !held.moved ? eventAt(canvas, state, ...at(event)) : -1;
    held = null;
    if (under < 0) return;
    if (state.events.count[under] === 1) tell(model, { chosen: state.events.event[under] });
    else zoom(canvas, state, model, see, at(event)[0], 0.2); // several events in one pixel: come closer
  });
  canvas.addEventListener("pointercancel", () => (held = null));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(canvas, state, model, see, at(event)[0], event.deltaY > 0 ? 1.25 : 0.8);
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(canvas, state, model, see, at(event)[0], 0.4));
}

/** Make the window `factor` times as wide, around a pixel. */
function zoom(canvas, state, model, see, x, factor) {
  const [low, high] = state.window, span = model.get("span_s");
  const share = Math.min(1, Math.max(0, (x - SIDE) / (canvas.clientWidth - 2 * SIDE)));
  const width = Math.min(span, Math.max(1e-6 * span, (high - low) * factor));
  const start = Math.min(span - width, Math.max(0, low + share * (high - low - width)));
  see(start, start + width);
}

function drawNumbers(where, told) {
  const sentence = element("p", {}, told.bound ? element("strong", {}, told.sentence) : told.sentence);
  where.replaceChildren(figures(told.figures), sentence);
}

function drawCosts(where, told, look) {
  const link = (name) => element("button", { type: "button", title: `search ${name}`, click: () => look(name) }, name);
  const rows = told.rows.map(([name, ...rest]) => [link(name), ...rest]);
  const more = told.more ? element("p", { class: "quiet" }, `and ${told.more} more`) : "";
  where.replaceChildren(element("strong", {}, `${told.counted} shown, by own time`), table(["name", "#calls", "#total", "#share"], rows), more);
}

function drawDetail(where, told) {
  const hint = element("p", { class: "quiet" }, "Click an event, or press n on the timeline, to see it here. Ctrl and the wheel zoom.");
  where.replaceChildren(element("strong", {}, "chosen event"), told.length ? table(["", ""], told) : hint);
}
export default { render };
