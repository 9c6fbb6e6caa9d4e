// Elements, and words for numbers and dates. Text is never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element. `props` are attributes; `on` holds listeners. Children that are null are left out. */
export const h = (tag, props = {}, ...children) => filled(document.createElement(tag), props, children);

/** An SVG element. */
export const svg = (tag, props = {}, ...children) => filled(document.createElementNS(SVG, tag), props, children);

let last = 0;
/** An id that no other element has. */
export const fresh = (stem) => `${stem}-${++last}`;

/** A label with its control, and a hint where one is given. */
export function field(text, control, hint) {
  control.id ||= fresh("field");
  const note = hint ? h("span", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), note, control);
}

/** Tell a screen reader, without moving the focus. */
export function say(text) {
  const spoken = document.getElementById("spoken");
  spoken.textContent = "";
  requestAnimationFrame(() => (spoken.textContent = text));
}

/** Show what went wrong, as the service said it: title and detail. An empty `problem` removes the message. */
export function complain(place, problem) {
  if (!problem) return place.replaceChildren();
  const wait = problem.retryAfter ? ` Try again in ${count(problem.retryAfter, "second")}.` : "";
  place.replaceChildren(
    h(
      "div",
      { class: "notice bad", role: "alert" },
      h("strong", {}, problem.title || "It did not work"),
      h("p", {}, `${problem.detail || problem.message}${wait}`),
      problem.requestId ? h("p", { class: "muted small" }, `Request ${problem.requestId}`) : null,
    ),
  );
  place.scrollIntoView({ block: "nearest" });
}

/** Show that something was done. */
export const tell = (place, ...words) => place.replaceChildren(h("div", { class: "notice", role: "status" }, ...words));

/** What stands where there is nothing yet: what it is, and what to do. */
export const empty = (title, ...rest) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), ...rest);

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A number with a real minus sign. */
export const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
export const when = (text) => h("time", { datetime: text }, DATE.format(new Date(text)));
export const day = (text) => h("time", { datetime: text }, DAY.format(new Date(text)));

/** A rate such as 0.0001 as "1 in 10,000". */
export const oneIn = (rate) => `1 in ${Math.round(1 / rate).toLocaleString("en")}`;

/** Run what a button does once at a time, and show its failure at `place`. */
export async function during(button, place, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  button.setAttribute("aria-busy", "true");
  complain(place, null);
  try {
    return await work();
  } catch (problem) {
    complain(place, problem);
    return undefined;
  } finally {
    button.removeAttribute("aria-busy");
  }
}
