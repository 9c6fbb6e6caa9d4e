// Which gallery the page works on: remembered, chosen at the top of each view that needs one, made and removed by admins.

import { ask, galleryPath } from "./api.js";
import * as dialog from "./dialog.js";
import { count, empty, field, h } from "./dom.js";

const REMEMBERED = "vultus.gallery";

/** The galleries that the session may know. */
export class Galleries {
  constructor(may) {
    this.may = may;
    this.known = [];
    this.name = localStorage.getItem(REMEMBERED) ?? "";
  }

  async refresh() {
    if (!this.may("read")) return;
    this.known = await ask("GET", "v1/galleries");
    if (!this.known.some((one) => one.name === this.name)) this.choose(this.known[0]?.name ?? "");
  }

  choose(name) {
    this.name = name;
    localStorage.setItem(REMEMBERED, name);
  }

  /** The chosen gallery in numbers, where they are known. */
  get chosen() {
    return this.known.find((one) => one.name === this.name) ?? null;
  }

  /** A control to choose; `again` draws the view anew. */
  chooser(again, ...more) {
    if (!this.may("read")) {
      const input = h("input", { type: "text", value: this.name, autocomplete: "off", spellcheck: "false" });
      input.addEventListener("change", () => this.choose(input.value.trim()));
      return h("div", { class: "row end" }, field("Gallery", input, "This key may not list galleries; type the name."), ...more);
    }
    const options = this.known.map((one) => h("option", { value: one.name, selected: one.name === this.name }, `${one.name} (${count(one.subjects, "person", "people")})`));
    const select = h("select", {}, ...options);
    select.addEventListener("change", () => {
      this.choose(select.value);
      again();
    });
    return h("div", { class: "row end" }, field("Gallery", select), ...more);
  }

  /** What stands in a view that needs a gallery where there is none; null where there is one. */
  missing(again) {
    if (!this.may("read") || this.known.length) return null;
    if (!this.may("admin")) return empty("There is no gallery yet", h("p", {}, "Somebody whose key has the scope “admin” makes the first one."));
    const make = h("button", { type: "button", class: "primary", on: { click: () => this.make(again) } }, "Make a gallery");
    return empty("There is no gallery yet", h("p", {}, "A gallery holds the people that photos are compared with."), make);
  }

  async make(again) {
    const input = h("input", { type: "text", name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", autocomplete: "off", autofocus: true });
    const fields = [field("Name", input, "Letters, digits, - and _. For instance: staff")];
    const made = await dialog.ask("New gallery", fields, {
      verb: "Make the gallery",
      act: () => ask("POST", "v1/galleries", { json: { name: input.value } }),
    });
    if (!made) return;
    this.choose(made.name);
    await this.refresh();
    again();
  }

  async remove(again) {
    const { name, subjects } = this.chosen;
    const gone = await dialog.confirm(`Delete the gallery ${name}?`, `${count(subjects, "person", "people")} and all their templates and pictures are overwritten. This cannot be undone.`, {
      verb: "Delete the gallery",
      act: () => ask("DELETE", galleryPath(name)),
    });
    if (!gone) return;
    await this.refresh();
    again();
  }
}
