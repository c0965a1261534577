// A number, its unit, how sure one is, and what is stored.
const PATIENCE_MS = 2000;
const SILENT = "Not stored yet: Python does not answer. Run this cell first, or wait until the running one is done.";

function render({ model, el, signal }) {
  const unit = model.get("unit");
  const number = element("input", { type: "text", inputmode: "decimal", "aria-label": `your guess in ${unit}`, placeholder: "a number" });
  const percent = element("input", { type: "range", min: 50, max: 95, step: 5, value: model.get("confidence") });
  percent.setAttribute("aria-label", "how sure you are, in percent");
  const shown = element("output", {}, `${percent.value} %`);
  const said = element("p", { role: "status", "aria-live": "polite" });

  const keep = () => {
    const asked = { guess: number.value, confidence: Number(percent.value), at: Date.now() };
    tell(model, { asked });
    setTimeout(() => model.get("answered") < asked.at && say(SILENT, true), PATIENCE_MS);
  };
  number.addEventListener("keydown", (event) => event.key === "Enter" && keep());
  percent.addEventListener("input", () => shown.replaceChildren(`${percent.value} %`));

  const say = (text, problem) => {
    said.textContent = text;
    said.className = problem ? "problem" : "";
  };
  const draw = () => say(model.get("said"), model.get("problem"));
  follow(model, signal, ["said", "problem", "answered"], draw);
  draw();
  const sure = element("label", {}, "sure, within a factor of 1.5:", percent, shown);
  const row = element("div", { class: "row" }, element("label", {}, number, unit), sure);
  row.append(element("button", { type: "button", click: keep }, "Keep this guess"));
  el.append(frame("guess", `Guess: ${model.get("question")}`, element("h4", {}, model.get("question")), row, said));
}
export default { render };
