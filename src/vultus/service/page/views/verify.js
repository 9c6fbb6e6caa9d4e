// Do two photos show one person?

import { ask, formOf } from "../api.js";
import { complain, during, field, h, signed } from "../dom.js";
import { PhotoField } from "../photos.js";
import { basis, padNote, scale } from "../scale.js";

const RATES = [
  ["0.01", "1 in 100"],
  ["0.001", "1 in 1,000"],
  ["0.0001", "1 in 10,000"],
  ["0.00001", "1 in 100,000"],
];

export const title = "Compare two photos";

export function show(root) {
  const one = new PhotoField("First photo");
  const other = new PhotoField("Second photo");
  const rate = h("select", { name: "fmr" }, ...RATES.map(([value, text]) => h("option", { value, selected: value === "0.0001" }, text)));
  const go = h("button", { type: "submit", class: "primary" }, "Compare");
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  one.onchange = other.onchange = () => outcome.replaceChildren();
  const form = h(
    "form",
    { on: { submit: run } },
    h("div", { class: "pair" }, one.element, other.element),
    h("div", { class: "row end bar" }, field("False matches accepted", rate, "How often two different people may be taken for one."), go),
  );
  root.append(h("p", { class: "lead" }, "Is it the same person? Each photo should show a face; the largest is compared."), form, outcome);

  async function run(event) {
    event.preventDefault();
    const vacant = [one, other].find((side) => side.vacant);
    if (vacant) {
      complain(outcome, { title: "Two photos are needed", detail: `Choose one for “${vacant.label}”.` });
      vacant.input.focus();
      return;
    }
    const found = await during(go, outcome, () => ask("POST", "v1/verify", { form: formOf({ image: one.file, other: other.file, fmr: rate.value }) }));
    if (!found) return;
    await Promise.all([one, other].map((side) => side.pictures[0]?.ready));
    [one, other].forEach((side, i) => side.mark(found.boxes[i]));
    outcome.replaceChildren(verdict(found));
    outcome.scrollIntoView({ block: "nearest" });
  }
}

function verdict(found) {
  const words = found.match ? "The same person" : "Not the same person";
  const detail = found.match ? "The score reaches the threshold." : "The score does not reach the threshold.";
  return h(
    "section",
    { class: `card verdict ${found.match ? "yes" : "no"}` },
    h("h2", {}, h("span", { class: "sign", "aria-hidden": "true" }, found.match ? "✓" : "✕"), words),
    h("p", { class: "muted" }, detail),
    scale(found),
    likelihood(found.log10_likelihood_ratio),
    padNote(found.pad),
    basis(found),
  );
}

/** The calibrated weight of the score, in words. */
function likelihood(ratio) {
  if (ratio === null || ratio === undefined) return null;
  const side = ratio >= 0 ? "one person than for two" : "two people than for one";
  const power = Math.abs(ratio);
  const times = power < 4 ? `${(10 ** power).toPrecision(2) * 1} times` : `10${superscript(power)} times`;
  return h("p", {}, "A score like this is about ", h("strong", {}, times), ` as probable for ${side} (log₁₀ likelihood ratio ${signed(ratio, 2)}).`);
}

const superscript = (power) => [...power.toFixed(0)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
