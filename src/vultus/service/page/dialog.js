// Dialogs: the browser's own, so that focus stays inside, Escape closes them and the focus goes back.

import { complain, during, fresh, h } from "./dom.js";

/** Open a dialog with a title and content. `onclose` is called once when it closes. Gives the element. */
export function open(title, content, { onclose = () => {}, wide = false } = {}) {
  const id = fresh("title");
  const close = h("button", { type: "button", class: "quiet close", "aria-label": "Close", on: { click: () => box.close() } }, "✕");
  const box = h(
    "dialog",
    { "aria-labelledby": id, class: wide ? "wide" : null },
    h("div", { class: "dialog-head" }, h("h2", { id, tabindex: -1 }, title), close),
    content,
  );
  box.addEventListener("close", () => {
    box.remove();
    onclose();
    if (document.activeElement === document.body) document.querySelector("dialog[open] h2, main h1")?.focus(); // what opened it is gone
  });
  document.body.append(box);
  box.showModal();
  (box.querySelector("[autofocus]") ?? box.querySelector("h2")).focus();
  return box;
}

/** Close all dialogs, when the page goes elsewhere. */
export const closeAll = () => document.querySelectorAll("dialog[open]").forEach((box) => box.close());

/**
 * Ask before something that cannot be undone. `act` runs while the dialog is open, which shows its failure.
 * Resolves to what `act` gave, or to null where the user thought better of it.
 */
export function confirm(title, text, { verb, act }) {
  return new Promise((resolve) => {
    let result = null;
    const trouble = h("div");
    const go = h("button", { type: "submit", class: "danger" }, verb);
    const form = h(
      "form",
      { on: { submit: run } },
      h("p", {}, text),
      trouble,
      h("div", { class: "actions" }, go, h("button", { type: "button", autofocus: true, on: { click: () => box.close() } }, "Cancel")),
    );
    const box = open(title, form, { onclose: () => resolve(result) });
    async function run(event) {
      event.preventDefault();
      const done = await during(go, trouble, async () => ({ value: await act() }));
      if (!done) return;
      result = done.value ?? true;
      box.close();
    }
  });
}

/** A form in a dialog. `act` gets the form; the dialog closes where it succeeds, and shows the failure where not. */
export function ask(title, fields, { verb, act }) {
  return new Promise((resolve) => {
    let result = null;
    const trouble = h("div");
    const go = h("button", { type: "submit", class: "primary" }, verb);
    const cancel = h("button", { type: "button", on: { click: () => box.close() } }, "Cancel");
    const form = h("form", { on: { submit: run } }, ...fields, trouble, h("div", { class: "actions" }, go, cancel));
    const box = open(title, form, { onclose: () => resolve(result) });
    async function run(event) {
      event.preventDefault();
      const done = await during(go, trouble, async () => ({ value: await act(form) }));
      if (!done) return;
      result = done.value ?? true;
      box.close();
    }
    complain(trouble, null);
  });
}
