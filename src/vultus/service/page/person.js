// One person: what is recorded, and rename, add photos, merge, export and delete.

import { ask, formOf, requestKey, subjectPath } from "./api.js";
import * as dialog from "./dialog.js";
import { complain, count, day, during, field, h, tell, when } from "./dom.js";
import { portrait } from "./faces.js";
import { PhotosField } from "./photos.js";

/** Open the dialog of a subject. */
export async function openPerson(app, gallery, id) {
  const body = h("div", { class: "person-body" });
  const place = h("div", { class: "place" });
  const box = dialog.open(id, h("div", {}, place, body), { wide: true, onclose: () => photos?.release() });
  let photos = null;
  let path = "";
  await draw();

  async function draw() {
    try {
      path = subjectPath(gallery, id);
      const one = await ask("GET", path);
      photos?.release();
      photos = app.may("enrol") ? new PhotosField("More photos", { hint: "One face on each.", look: true }) : null;
      box.querySelector("h2").textContent = one.name ?? id;
      body.replaceChildren(...[facts(gallery, one), app.may("enrol") ? changes(one) : null, exporting(), app.may("enrol") ? removal(one) : null].filter(Boolean));
    } catch (problem) {
      complain(place, problem);
    }
  }

  function changes(one) {
    const name = h("input", { type: "text", value: one.name ?? "", maxlength: 256, autocomplete: "off" });
    const save = h("button", { type: "submit" }, "Save the name");
    const other = h("input", { type: "text", required: true, maxlength: 256, autocomplete: "off", spellcheck: "false" });
    const add = h("button", { type: "button" }, "Add these photos");
    add.hidden = true;
    photos.onchange = () => (add.hidden = photos.files.length === 0);
    add.addEventListener("click", async () => {
      const done = await during(add, place, () => ask("POST", `${path}/templates`, { form: formOf({ images: photos.files }), headers: { "Idempotency-Key": requestKey() } }));
      if (done) await after(`${count(done.templates, "template")} now.`);
    });
    return h(
      "div",
      { class: "changes" },
      h("form", { class: "row end", on: { submit: rename } }, field("Name", name), save),
      photos.element,
      add,
      h(
        "form",
        { class: "row end", on: { submit: merge } },
        field("Merge another person into this one", other, "The other’s id. All templates come here, and the other is gone."),
        h("button", { type: "submit" }, "Merge"),
      ),
    );

    async function rename(event) {
      event.preventDefault();
      const done = await during(save, place, () => ask("PATCH", path, { json: { name: name.value || null } }));
      if (done) await after("The name is saved.");
    }

    async function merge(event) {
      event.preventDefault();
      const from = other.value;
      const done = await dialog.confirm(`Merge ${from} into ${id}?`, `All templates of ${from} go to ${id}, and ${from} is gone. This cannot be undone.`, {
        verb: "Merge",
        act: () => ask("POST", `${path}/merge`, { json: { other_id: from } }),
      });
      if (done) await after(`${from} is merged: ${count(done.templates, "template")} changed hands.`);
    }
  }

  async function after(words) {
    await draw();
    tell(place, words);
    await app.galleries.refresh();
    app.redraw();
  }

  function exporting() {
    const save = h("button", { type: "button" }, "Export everything kept");
    save.addEventListener("click", async () => {
      const all = await during(save, place, () => ask("GET", `${path}/export`));
      if (!all) return;
      const url = URL.createObjectURL(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }));
      h("a", { href: url, download: "person.json" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
    return h("p", {}, save);
  }

  function removal(one) {
    const remove = h("button", { type: "button", class: "danger" }, "Delete this person");
    remove.addEventListener("click", async () => {
      const name = one.name ?? id;
      const gone = await dialog.confirm(`Delete ${name}?`, `${count(one.templates, "template")} and every picture kept of ${name} are overwritten. This cannot be undone.`, {
        verb: "Delete",
        act: () => ask("DELETE", path),
      });
      if (!gone) return;
      box.close();
      await app.galleries.refresh();
      const bytes = gone.erased ? "The bytes are overwritten." : "The bytes go when no other process reads the gallery.";
      app.go("people", { told: [h("strong", {}, `${name} is deleted.`), h("p", {}, bytes)] });
    });
    return h("p", {}, remove);
  }
}

function facts(gallery, one) {
  const name = one.name ?? one.subject_id;
  const rows = one.details.map((t, i) =>
    h(
      "li",
      {},
      `Template ${i + 1}: ${count(t.samples, "photo")}`,
      t.quality === null ? null : `, quality ${t.quality.toFixed(2)}`,
      t.consent ? `, consent ${t.consent}` : null,
      t.expires ? [", expires ", day(t.expires)] : null,
    ),
  );
  return h(
    "div",
    { class: "row top-aligned" },
    portrait(gallery, one, name),
    h("div", { class: "grow" }, h("p", { class: "muted" }, h("span", { class: "id" }, one.subject_id), " · enrolled ", when(one.created)), h("ul", { class: "plain small" }, ...rows)),
  );
}
