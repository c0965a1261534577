// The blocks of a model in rows, as wide as they take time; the chosen one in numbers.
function render({ model, el, signal }) {
  const rows = element("div", { role: "listbox", "aria-label": "Blocks. Left and right go through them, up and down between levels." });
  const detail = element("div", { "aria-live": "polite" }), split = element("p");
  const phases = element("div", { class: "row", role: "radiogroup", "aria-label": "phase" });
  const group = `phase-${Math.random().toString(36).slice(2)}`;
  for (const phase of model.get("phases")) {
    const radio = element("input", { type: "radio", name: group, value: phase, change: () => tell(model, { phase }) });
    phases.append(element("label", {}, radio, phase));
  }

  const buttons = model.get("shown").map((_, i) =>
    element("button", { type: "button", class: "block", role: "option", click: () => tell(model, { chosen: i }) }));
  for (const [name, down, middle, up] of model.get("levels")) {
    const arm = (kind, indices) => element("div", { class: `arm ${kind}`, role: "presentation" }, ...indices.map((i) => buttons[i]));
    const label = element("span", { class: "name" }, name);
    const parts = middle.length ? [label, arm("middle", middle), element("span", { class: "name" })] : [arm("down", down), label, arm("up", up)];
    rows.append(element("div", { class: "level", role: "presentation" }, ...parts));
  }
  rows.addEventListener("keydown", (event) => {
    const to = neighbour(model, event.key);
    if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    tell(model, { chosen: to });
    buttons[to].focus();
  });

  const draw = () => {
    drawBlocks(model, buttons);
    for (const radio of phases.querySelectorAll("input")) radio.checked = radio.value === model.get("phase");
    drawBlock(model, detail);
    split.textContent = model.get("detail").split ?? "";
  };
  const head = element("h4", {}, model.get("title"));
  el.append(frame("blocks", model.get("title"), head, phases, legend(bound(model.get("colors"))), rows, split, detail));
  follow(model, signal, ["shown", "chosen", "phase", "detail"], draw);
  draw();
}

const bound = (colors) => colors.map(([name, shade]) => [`bound by ${name}`, shade]);

function drawBlocks(model, buttons) {
  const shown = model.get("shown"), colors = Object.fromEntries(model.get("colors")), inks = model.get("inks");
  const arms = model.get("levels").flatMap(([, down, middle, up]) => [down, up, middle]);
  const widest = Math.max(...arms.map((arm) => arm.reduce((sum, i) => sum + shown[i].share, 0)));
  buttons.forEach((button, i) => {
    const { name, share, time, bound } = shown[i], width = (98 * share) / widest;
    button.style.flex = `0 1 ${width.toFixed(2)}%`;
    button.style.background = colors[bound];
    button.style.color = inks[bound];
    button.textContent = width > 12 ? name : "";
    button.title = `${name}: ${time}, ${(100 * share).toFixed(1)} % of the time, bound by ${bound}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-selected", String(i === model.get("chosen")));
    button.tabIndex = i === model.get("chosen") ? 0 : -1;
  });
}

/** Which block a key leads to from the chosen one; null for another key. */
function neighbour(model, key) {
  const chosen = model.get("chosen"), last = model.get("shown").length - 1, levels = model.get("levels");
  const steps = { ArrowLeft: Math.max(0, chosen - 1), ArrowRight: Math.min(last, chosen + 1), Home: 0, End: last };
  if (key in steps) return steps[key];
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const row = levels.findIndex(([, ...arms]) => arms.flat().includes(chosen));
  const side = levels[row].findIndex((arm, i) => i > 0 && arm.includes(chosen));
  const next = levels[row + (key === "ArrowDown" ? 1 : -1)];
  if (!next) return chosen;
  return (next[side].length ? next[side] : next.slice(1).flat())[0] ?? chosen;
}

function drawBlock(model, where) {
  const { name, kind, columns, rows } = model.get("detail");
  const title = element("strong", {}, `${name} `, element("span", { class: "quiet" }, `(${kind})`));
  where.replaceChildren(title, table(["", ...columns.map((column) => `#${column}`)], rows));
}
export default { render };
