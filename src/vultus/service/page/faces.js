// A person's small picture, or initials where none is kept.

import { addressable, subjectPath } from "./api.js";
import { h } from "./dom.js";

/** The picture kept of a subject. */
export const portrait = (gallery, { subject_id: id, thumbnail }, name) =>
  face(thumbnail && addressable(id) ? `${subjectPath(gallery, id)}/thumbnail` : null, name);

/** The picture at `address`; initials of `name` where it is null. */
export function face(address, name) {
  if (address) return h("img", { class: "face", src: address, alt: `Picture of ${name}`, loading: "lazy" });
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? words[0][0] + words.at(-1)[0] : [...name].slice(0, 2).join("");
  return h("span", { class: "face initials", "aria-hidden": "true" }, letters.toUpperCase());
}
