// One photo with its faces drawn as boxes over it.

import { ask, formOf } from "./api.js";
import { count, h, svg } from "./dom.js";

/** Shows a file and, once the service has looked at it, a box around each face. */
export class Picture {
  #overlay = svg("svg", { class: "boxes", "aria-hidden": "true" });
  #note = h("p", { class: "photo-note", role: "status" });
  #faces = [];

  constructor(file, { label, look = true }) {
    this.file = file;
    this.url = URL.createObjectURL(file);
    const image = h("img", { src: this.url, alt: label });
    const frame = h("div", { class: "frame" }, image, this.#overlay);
    image.addEventListener("load", () => frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight));
    image.addEventListener("error", () => image.replaceWith(h("p", { class: "unseen" }, "The browser cannot show this format.")));
    this.element = h("div", { class: "picture" }, frame, look ? this.#note : null);
    this.ready = look ? this.#look() : Promise.resolve();
  }

  /** Mark the face that was used: the box nearest to `box`. */
  mark(box) {
    const rects = [...this.#overlay.querySelectorAll("rect")];
    const distance = (face) => face.box.reduce((sum, value, i) => sum + Math.abs(value - box[i]), 0);
    const nearest = this.#faces.reduce((best, face, i) => (best < 0 || distance(face) < distance(this.#faces[best]) ? i : best), -1);
    rects.forEach((rect, i) => rect.classList.toggle("used", i === nearest));
  }

  /** Let go of the file. */
  release() {
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  async #look() {
    this.#note.textContent = "Looking for faces…";
    try {
      const { width, height, faces } = await ask("POST", "v1/detect", { form: formOf({ image: this.file }) });
      this.#faces = faces;
      this.#draw(width, height);
      const words = faces.length === 0 ? "No face found. Try a sharper or larger photo." : `${count(faces.length, "face")} found`;
      this.#note.textContent = faces.length > 1 ? `${words}; the largest is used` : words;
      this.#note.classList.toggle("warn", faces.length === 0);
    } catch (problem) {
      this.#note.textContent = `${problem.title}: ${problem.detail}`;
      this.#note.classList.add("warn");
    }
  }

  #draw(width, height) {
    this.#overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const rects = this.#faces.map(({ box: [x0, y0, x1, y1] }) =>
      svg("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: (x1 - x0) * 0.06 }),
    );
    const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
    const largest = Math.max(...this.#faces.map(area));
    rects.forEach((rect, i) => rect.classList.toggle("used", area(this.#faces[i]) === largest));
    this.#overlay.replaceChildren(...rects);
  }
}
