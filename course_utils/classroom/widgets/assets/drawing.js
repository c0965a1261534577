// What all widgets draw with. No library, nothing fetched.

const FOCUSABLE = ["button", "canvas", "input", "select"];

/**
 * An element with attributes (functions become listeners) and children.
 *
 * Keys pressed on it are its own, not JupyterLab's shortcuts, which would move between cells or delete one. The mark has
 * to stand on the very element that has the focus: JupyterLab looks from there upwards and stops at the first match.
 */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (FOCUSABLE.includes(tag)) made.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** The outermost element of a widget. */
function frame(kind, label, ...children) {
  return element("div", { class: `course-widget course-${kind}`, role: "group", "aria-label": label }, ...children);
}

/** A table: names of columns, rows of cells; a cell is text or an element, a column with `#` before its name has numbers. */
function table(columns, rows) {
  const side = columns.map((name) => (name.startsWith("#") ? "number" : null));
  const head = columns.map((name, i) => element("th", { class: side[i], scope: "col" }, name.replace("#", "")));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, i) => element("td", { class: side[i] }, cell))));
  const top = columns.some(Boolean) ? [element("thead", {}, element("tr", {}, ...head))] : [];
  return element("table", {}, ...top, element("tbody", {}, ...body));
}

/** Names beside their colours, in pairs; without a colour a name stands beside a ring. */
function legend(colors) {
  const look = (shade) => (shade ? { style: `--shade:${shade}` } : { class: "ring" });
  const entries = colors.map(([name, shade]) => element("span", look(shade), name));
  return element("div", { class: "legend" }, ...entries);
}

/** Large figures with small names: [name, text]. */
function figures(told) {
  const each = ([name, text]) => element("div", {}, element("strong", {}, text), element("span", { class: "quiet" }, name));
  return element("div", { class: "figures" }, ...told.map(each));
}

/** Call `draw` when one of the model's values changes, until the view goes. */
function follow(model, signal, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  signal?.addEventListener("abort", () => names.forEach((name) => model.off(`change:${name}`, draw)));
}

/** Set values of the model and tell Python. */
function tell(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}
