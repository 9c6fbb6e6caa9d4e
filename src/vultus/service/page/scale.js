// A decision on its scale: the measured threshold marked, the score where the key may know it, else the band alone.

import { h, oneIn, signed } from "./dom.js";

const BANDS = { below: "Below the threshold", likely: "At or above the threshold", high: "At or above the strictest threshold" };
const SHORT = { below: "below", likely: "likely", high: "high" };

/** The band in a word, as a chip. */
export const bandChip = (band) => h("span", { class: `chip ${band}`, title: BANDS[band] }, SHORT[band]);

const percent = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(2)}%`;

function placed(element, from, to = null) {
  element.style.left = percent(from);
  if (to !== null) element.style.right = percent(1 - to);
  return element;
}

/** The scale of one comparison. */
export function scale({ score, threshold, band }) {
  return score === null || score === undefined ? ofBand(band, threshold) : ofScore(score, threshold);
}

function ofScore(score, threshold) {
  const match = score >= threshold;
  const words = `Score ${signed(score, 3)} on a scale from 0 to 1. The threshold is ${threshold.toFixed(3)}.`;
  const label = placed(h("span", { class: "scale-score" }, signed(score, 3)), Math.min(0.95, Math.max(0.05, score)));
  return h(
    "div",
    { class: `scale${match ? " match" : ""}`, role: "img", "aria-label": words },
    label,
    h(
      "div",
      { class: "track" },
      placed(h("span", { class: "accepts" }), threshold, 1),
      placed(h("span", { class: "limit" }), threshold),
      placed(h("span", { class: "marker" }), score),
    ),
    h("div", { class: "scale-foot" }, h("span", {}, "0"), placed(h("span", { class: "limit-label" }, `threshold ${threshold.toFixed(3)}`), threshold), h("span", {}, "1")),
  );
}

function ofBand(band, threshold) {
  const parts = Object.keys(BANDS).map((one) => h("span", { class: one === band ? "step on" : "step" }, SHORT[one]));
  const words = `Band: ${SHORT[band]}. ${BANDS[band]}. The threshold is ${threshold.toFixed(3)}.`;
  return h(
    "div",
    { class: "bands" },
    h("div", { class: "steps", role: "img", "aria-label": words }, ...parts),
    h("p", { class: "hint" }, `${BANDS[band]} (${threshold.toFixed(3)}). Exact scores need a key with the scope “score”.`),
  );
}

/** What the threshold rests on, and the model, for whoever asks. */
export function basis({ fmr, fpir, basis: words, model, threshold }) {
  const rates = [
    fmr === null || fmr === undefined ? null : ["False match rate", `${oneIn(fmr)} comparisons of two people`],
    fpir === null || fpir === undefined ? null : ["False positive identification rate", `${(100 * fpir).toPrecision(2)} % of searches for a stranger, at most`],
    ["Threshold", threshold.toFixed(4)],
    words ? ["Measured on", words] : null,
    ["Model", model],
  ].filter(Boolean);
  return h(
    "details",
    { class: "basis" },
    h("summary", {}, "What this decision rests on"),
    h("dl", {}, ...rates.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  );
}

/** What is known of presentation attacks: usually nothing, and that is said. */
export function padNote(pad) {
  if (pad === "not_evaluated") {
    return h("p", { class: "pad" }, h("strong", {}, "Not checked for liveness. "), "A printed photo or a screen would pass. ", h("code", {}, "pad: not_evaluated"));
  }
  const said = pad.attack ? "takes this for a presentation attack: a print, a screen or a mask." : "saw no presentation attack.";
  return h("p", { class: pad.attack ? "pad warn" : "pad" }, `The attack detector ${pad.detector} ${said}`);
}
