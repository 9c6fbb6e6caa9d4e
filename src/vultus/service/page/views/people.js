// The people of a gallery: list, enrol, and what can be done with each.

import { Problem, ask, formOf, galleryPath, requestKey, subjectPath } from "../api.js";
import * as dialog from "../dialog.js";
import { complain, count, during, empty, field, h, tell } from "../dom.js";
import { portrait } from "../faces.js";
import { PhotosField } from "../photos.js";
import { padNote } from "../scale.js";
import { openPerson } from "../person.js";

const PAGE = 60;
export const title = "People";

export async function show(root, app, { enrol = null, told = null } = {}) {
  const { galleries } = app;
  const missing = galleries.missing(app.again);
  if (missing) return root.append(missing);
  const place = h("div", { class: "place" });
  const add = app.may("enrol") ? h("button", { type: "button", class: "primary", on: { click: () => enrolPerson(app, null, done) } }, "Enrol a person") : null;
  root.append(galleries.chooser(app.again, add), place);
  if (told) tell(place, ...told);
  if (app.may("read")) await list(root, app, place);
  else root.append(empty("This key may not list people", h("p", {}, "It may enrol them. Listing needs the scope “read”.")));
  if (app.may("admin")) root.append(upkeep(app, place));
  if (enrol) enrolPerson(app, enrol, done);
  return undefined;

  async function done(result) {
    await galleries.refresh();
    app.go("people", { told: enrolled(result) });
  }
}

async function list(root, app, place) {
  const gallery = app.galleries.name;
  const filter = h("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const grid = h("ul", { class: "people" });
  const none = h("p", { class: "muted", hidden: true }, "No name or id on this page has these letters.");
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const known = [];
  let after = "";
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const { item, text } of known) item.hidden = !text.includes(wanted);
    none.hidden = known.length === 0 || known.some(({ item }) => !item.hidden);
  });
  more.addEventListener("click", () => during(more, place, page));
  try {
    await page();
  } catch (problem) {
    return complain(place, problem);
  }
  if (!known.length) return root.append(empty("Nobody is enrolled yet", h("p", {}, app.may("enrol") ? "Enrol a person with one or several photos, or let the page group photos without names." : "A key with the scope “enrol” adds people.")));
  return root.append(field("Find by name or id", filter), grid, none, more);

  async function page() {
    const { subjects, next } = await ask("GET", `${galleryPath(gallery)}/subjects?limit=${PAGE}&after=${encodeURIComponent(after)}`);
    for (const one of subjects) {
      const item = tile(app, gallery, one);
      known.push({ item, text: `${one.name ?? ""}\n${one.subject_id}`.toLowerCase() });
      grid.append(item);
    }
    after = next ?? "";
    more.hidden = next === null;
    filter.dispatchEvent(new Event("input"));
  }
}

function tile(app, gallery, one) {
  const name = one.name ?? one.subject_id;
  const open = h(
    "button",
    { type: "button", class: "person", on: { click: () => openPerson(app, gallery, one.subject_id) } },
    portrait(gallery, one, name),
    h("span", { class: "name" }, name),
    h("span", { class: "muted small" }, `${one.name ? `${one.subject_id} · ` : ""}${count(one.templates, "template")}`),
  );
  return h("li", {}, open);
}

function upkeep(app, place) {
  const { galleries } = app;
  const purge = h("button", { type: "button" }, "Remove what has expired");
  purge.addEventListener("click", async () => {
    const job = await during(purge, place, () => ask("POST", `${galleryPath(galleries.name)}/purge`));
    if (job) app.go("groups");
  });
  return h(
    "details",
    { class: "upkeep" },
    h("summary", {}, "Galleries"),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", on: { click: () => galleries.make(app.again) } }, "New gallery"),
      purge,
      h("button", { type: "button", class: "danger", on: { click: () => galleries.remove(app.again) } }, "Delete this gallery"),
    ),
  );
}

/** What is said after an enrolment: how many templates, who looks alike, and that nothing was checked for liveness. */
function enrolled({ subject_id: id, templates, similar, pad }) {
  const alike = similar.map((one) => one.subject_id).join(", ");
  return [
    h("strong", {}, `${id} is enrolled with ${count(templates, "template")}.`),
    alike ? h("p", {}, `Looks like somebody who is enrolled already: ${alike}. If it is one person, open one of the two and merge them.`) : null,
    padNote(pad),
  ].filter(Boolean);
}

/** The dialog that enrols; a photo may be there already. */
async function enrolPerson(app, file, done) {
  const id = h("input", { type: "text", name: "subject_id", required: true, maxlength: 256, autocomplete: "off", spellcheck: "false", autofocus: true });
  const name = h("input", { type: "text", name: "name", maxlength: 256, autocomplete: "off" });
  const photos = new PhotosField("Photos", { hint: "One face on each. Several photos make a better template.", look: true });
  if (file) photos.take([file]);
  const more = consentFields();
  const repeated = repeatable();
  const fields = [
    field("Id", id, "What your systems call this person. It cannot be changed later."),
    field("Name", name, "Optional; what people read."),
    photos.element,
    more.element,
  ];
  const result = await dialog.ask(`Enrol a person in ${app.galleries.name}`, fields, {
    verb: "Enrol",
    act() {
      if (!photos.files.length) throw new Problem({ title: "A photo is needed", detail: "Drop, paste or choose at least one." });
      subjectPath(app.galleries.name, id.value); // throws where the person could not be opened later
      const form = formOf({ subject_id: id.value, name: name.value, images: photos.files, ...more.values() });
      const said = JSON.stringify([app.galleries.name, id.value, name.value, more.values(), photos.files.map((one) => [one.name, one.size, one.lastModified])]);
      return ask("POST", `${galleryPath(app.galleries.name)}/subjects`, { form, headers: { "Idempotency-Key": repeated(said) } });
    },
  });
  photos.release();
  if (result) await done(result);
}

/** Gives one request key as long as a form says the same, so that sending it again enrols nobody twice. */
function repeatable() {
  let before = null;
  let key = null;
  return (said) => {
    if (said !== before) [before, key] = [said, requestKey()];
    return key;
  };
}

/** Consent and expiry: rarely needed, so behind a summary. */
export function consentFields() {
  const consent = h("input", { type: "text", name: "consent", maxlength: 256, autocomplete: "off" });
  const expires = h("input", { type: "date", name: "expires" });
  return {
    element: h("details", {}, h("summary", {}, "Consent and expiry"), field("Consent", consent, "A reference, such as the number of a signed form."), field("Expires", expires, "Removed by the next purge after this day begins (UTC).")),
    values: () => ({ consent: consent.value || null, expires: expires.value ? `${expires.value}T00:00:00Z` : null }),
  };
}
