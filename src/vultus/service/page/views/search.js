// Who of a gallery is it?

import { addressable, ask, formOf, galleryPath, subjectPath } from "../api.js";
import { complain, count, during, field, h } from "../dom.js";
import { portrait } from "../faces.js";
import { PhotoField } from "../photos.js";
import { bandChip, basis, padNote, scale } from "../scale.js";

const RATES = [
  ["0.1", "1 in 10"],
  ["0.01", "1 in 100"],
  ["0.001", "1 in 1,000"],
];

export const title = "Search for a person";

export function show(root, app) {
  const missing = app.galleries.missing(app.again);
  if (missing) return root.append(missing);
  const photo = new PhotoField("Photo to search with");
  const rate = h("select", { name: "fpir" }, ...RATES.map(([value, text]) => h("option", { value, selected: value === "0.01" }, text)));
  const go = h("button", { type: "submit", class: "primary" }, "Search");
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  photo.onchange = () => outcome.replaceChildren();
  const form = h(
    "form",
    { on: { submit: run } },
    app.galleries.chooser(app.again),
    photo.element,
    h("div", { class: "row end bar" }, field("False alarms accepted", rate, "Of searches for somebody who is not in the gallery, how many may name a person."), go),
  );
  return root.append(h("p", { class: "lead" }, "Who is it? The largest face of the photo is searched for in the gallery."), form, outcome);

  async function run(event) {
    event.preventDefault();
    if (photo.vacant) {
      complain(outcome, { title: "A photo is needed", detail: "Drop, paste or choose one first." });
      return photo.input.focus();
    }
    const gallery = app.galleries.name;
    const found = await during(go, outcome, () => ask("POST", `${galleryPath(gallery)}/identify`, { form: formOf({ image: photo.file, fpir: rate.value }) }));
    if (!found) return undefined;
    await photo.pictures[0]?.ready;
    photo.mark(found.box);
    const kept = await during(go, outcome, () => thumbnails(app, gallery, found.candidates));
    if (!kept) return undefined;
    outcome.replaceChildren(answer(app, gallery, found, kept, photo.file));
    return outcome.scrollIntoView({ block: "nearest" });
  }
}

/** Which candidates have a picture. */
async function thumbnails(app, gallery, candidates) {
  if (!app.may("read")) return candidates.map(() => false);
  const found = await Promise.all(candidates.map((one) => (addressable(one.subject_id) ? ask("GET", subjectPath(gallery, one.subject_id)) : null)));
  return found.map((one) => one?.thumbnail ?? false);
}

function answer(app, gallery, found, kept, file) {
  const compared = `Compared with ${count(found.compared, "template")}.`;
  const head = found.match ? `${count(found.candidates.length, "candidate")}` : "Nobody in this gallery";
  const detail = found.match ? `${compared} Those who reach the threshold are shown, the best first.` : `${compared} None reaches the threshold.`;
  const enrol = h("button", { type: "button", on: { click: () => app.go("people", { enrol: file }) } }, "Enrol this person");
  return h(
    "section",
    { class: `card verdict ${found.match ? "yes" : "no"}` },
    h("h2", {}, head),
    h("p", { class: "muted" }, detail),
    found.match ? h("ol", { class: "candidates" }, ...found.candidates.map((one, i) => candidate(gallery, one, found, kept[i]))) : null,
    found.review ? h("p", { class: "notice" }, "The best candidate is not beyond doubt: it went to the ", h("a", { href: "#review" }, "review queue"), ", where two people decide.") : null,
    !found.match && app.may("enrol") ? h("p", {}, enrol) : null,
    padNote(found.pad),
    basis(found),
  );
}

function candidate(gallery, one, found, kept) {
  const name = one.name ?? one.subject_id;
  return h(
    "li",
    { class: "candidate" },
    portrait(gallery, { ...one, thumbnail: kept }, name),
    h(
      "div",
      { class: "grow" },
      h("p", { class: "row between" }, h("strong", { class: "name" }, name), bandChip(one.band)),
      one.name ? h("p", { class: "muted small" }, one.subject_id) : null,
      scale({ ...one, threshold: found.threshold }),
    ),
  );
}
