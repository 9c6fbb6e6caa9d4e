// Fields that take photos: dropped, pasted, chosen, or from the camera.

import { canPhotograph, photograph } from "./camera.js";
import { complain, count, fresh, h, say } from "./dom.js";
import { Picture } from "./picture.js";

const live = new Set();

/** A pasted photo goes to the field that has the focus, else to the first one that is empty. Dropping beside a field does nothing. */
export function listen() {
  document.addEventListener("paste", (event) => {
    const files = photosOf(event.clipboardData);
    const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.getElementById("main");
    const fields = [...live].filter((one) => top.contains(one.element));
    const target = fields.find((one) => one.element.contains(document.activeElement)) ?? fields.find((one) => one.vacant) ?? fields.at(-1);
    if (!files.length || !target) return;
    event.preventDefault();
    target.offered(files);
  });
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
}

/** Let go of all fields, when the page goes elsewhere. */
export function releaseAll() {
  for (const one of live) one.release();
  live.clear();
}

const photosOf = (data) => [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/") || /\.(hei[cf]|avif)$/i.test(file.name));

class Field {
  constructor(label, { many, hint }) {
    this.label = label;
    this.pictures = [];
    this.onchange = () => {};
    const id = fresh("photos");
    const input = h("input", { type: "file", accept: "image/*,.heic,.heif", multiple: many, class: "visually-hidden", id: `${id}-input` });
    input.setAttribute("aria-label", `${label}: choose ${many ? "photos" : "a photo"}`);
    input.addEventListener("change", () => {
      this.offered([...input.files]);
      input.value = "";
    });
    this.input = input;
    const choose = h("label", { class: "button", for: input.id, "aria-hidden": "true" }, many ? "Choose photos" : "Choose a photo");
    const camera = canPhotograph()
      ? h("button", { type: "button", "aria-label": `${label}: use the camera`, on: { click: () => this.#shoot() } }, "Camera")
      : null;
    this.shown = h("div", { class: many ? "shown many" : "shown" });
    this.zone = h(
      "div",
      { class: "zone" },
      h("p", { class: "zone-text" }, many ? "Drop or paste photos here" : "Drop or paste a photo here"),
      hint ? h("p", { class: "hint" }, hint) : null,
      h("div", { class: "row centre" }, input, choose, camera),
    );
    for (const kind of ["dragenter", "dragover"]) this.zone.addEventListener(kind, () => this.zone.classList.add("over"));
    for (const kind of ["dragleave", "drop"]) this.zone.addEventListener(kind, () => this.zone.classList.remove("over"));
    this.trouble = h("div", { class: "place" });
    this.element = h("section", { class: "photos", "aria-labelledby": id }, h("h2", { id }, label), this.zone, this.trouble, this.shown);
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.offered(photosOf(event.dataTransfer));
    });
    live.add(this);
  }

  get vacant() {
    return this.pictures.length === 0;
  }

  release() {
    for (const picture of this.pictures) picture.release();
    this.pictures = [];
    live.delete(this);
  }

  /** Take files, or say that none of them is a photo. */
  offered(files) {
    complain(this.trouble, files.length ? null : { title: "That is not a photo", detail: "A file such as a JPEG or PNG is needed." });
    if (files.length) this.take(files);
  }

  async #shoot() {
    const file = await photograph();
    if (file) this.offered([file]);
  }
}

/** A field for one photo, with the boxes of its faces. */
export class PhotoField extends Field {
  constructor(label) {
    super(label, { many: false });
  }

  get file() {
    return this.pictures[0]?.file ?? null;
  }

  take([file]) {
    this.clear();
    const picture = new Picture(file, { label: `${this.label}: ${file.name || "from the clipboard"}` });
    const again = h("button", { type: "button", class: "quiet", on: { click: () => this.#remove() } }, "Use another photo");
    this.pictures = [picture];
    this.shown.replaceChildren(picture.element, again);
    this.zone.hidden = true;
    this.onchange();
  }

  clear() {
    for (const picture of this.pictures) picture.release();
    this.pictures = [];
    this.shown.replaceChildren();
    this.zone.hidden = false;
  }

  mark(box) {
    this.pictures[0]?.mark(box);
  }

  #remove() {
    this.clear();
    this.input.focus();
    this.onchange();
  }
}

/** A field for several photos. `look` draws the faces of each; without it they are only shown, the first of them. */
export class PhotosField extends Field {
  #look;
  #most;

  constructor(label, { hint, look, most = 24 }) {
    super(label, { many: true, hint });
    this.files = [];
    this.#look = look;
    this.#most = most;
  }

  take(files) {
    this.files.push(...files);
    this.#draw(files);
    say(`${count(this.files.length, "photo")} chosen`);
    this.onchange();
  }

  clear() {
    for (const picture of this.pictures) picture.release();
    this.pictures = [];
    this.files = [];
    this.shown.replaceChildren();
    this.onchange();
  }

  #draw(files) {
    this.summary ??= h("p", { class: "row between" });
    for (const file of files.slice(0, Math.max(0, this.#most - this.pictures.length))) {
      const picture = new Picture(file, { label: file.name || "A pasted photo", look: this.#look });
      const remove = h("button", { type: "button", class: "quiet tiny", "aria-label": `Remove ${file.name || "this photo"}` }, "Remove");
      remove.addEventListener("click", () => {
        this.pictures = this.pictures.filter((one) => one !== picture);
        this.files = this.files.filter((one) => one !== file);
        tile.remove();
        picture.release();
        this.#count();
        this.input.focus();
        this.onchange();
      });
      const tile = h("div", { class: "tile" }, picture.element, remove);
      this.pictures.push(picture);
      this.shown.append(tile);
    }
    this.#count();
  }

  #count() {
    const hidden = this.files.length - this.pictures.length;
    const words = `${count(this.files.length, "photo")}${hidden > 0 ? `, ${hidden} of them not shown` : ""}`;
    const clear = h("button", { type: "button", class: "quiet", on: { click: () => this.clear() } }, "Remove all");
    this.summary.replaceChildren(words, clear);
    if (this.files.length) this.shown.prepend(this.summary);
    else this.summary.remove();
  }
}
