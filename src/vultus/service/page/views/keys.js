// Keys: make one for each person and program, with the scopes it needs, and revoke it.

import { Problem, ask } from "../api.js";
import * as dialog from "../dialog.js";
import { complain, during, field, h, when } from "../dom.js";

const SCOPES = [
  ["read", "list galleries, people and jobs"],
  ["enrol", "add, change and delete people"],
  ["identify", "compare, search and review"],
  ["score", "see exact scores"],
  ["embed", "see embeddings"],
  ["admin", "galleries, keys and the audit log"],
];

export const title = "Keys";

export async function show(root, app) {
  const place = h("div", { class: "place" });
  const list = h("ul", { class: "plain keys" });
  const make = h("button", { type: "button", class: "primary", on: { click: create } }, "New key");
  root.append(h("p", { class: "lead" }, "One key for each person and program. Its text is shown once; the service keeps a hash."), h("div", { class: "row" }, make), place, list);
  await draw();

  async function draw() {
    try {
      const { keys } = await ask("GET", "v1/keys");
      list.replaceChildren(...keys.map(item));
    } catch (problem) {
      complain(place, problem);
    }
  }

  function item(key) {
    const revoke = h("button", { type: "button", class: "danger", "aria-label": `Revoke ${key.name} (${key.key_id})` }, "Revoke");
    revoke.addEventListener("click", async () => {
      const gone = await dialog.confirm(`Revoke ${key.name}?`, "Whoever uses this key is refused from now on, and its sessions end. This cannot be undone.", {
        verb: "Revoke",
        act: () => ask("DELETE", `v1/keys/${key.key_id}`),
      });
      if (gone) await draw();
    });
    const what = h("p", { class: "muted small" }, h("code", {}, key.key_id), ` · ${key.scopes.join(", ")} · made `, when(key.created));
    return h("li", { class: "card row between" }, h("div", {}, h("strong", { class: "name" }, key.name), what), key.revoked ? h("span", { class: "muted" }, "revoked ", when(key.revoked)) : revoke);
  }

  async function create() {
    const name = h("input", { type: "text", required: true, maxlength: 256, autocomplete: "off", autofocus: true });
    const boxes = SCOPES.map(([scope, text]) => {
      const box = h("input", { type: "checkbox", value: scope });
      return { box, element: h("label", { class: "check" }, box, h("span", {}, h("strong", {}, scope), ` – ${text}`)) };
    });
    const scopes = h("fieldset", {}, h("legend", {}, "Scopes"), ...boxes.map(({ element }) => element));
    const made = await dialog.ask("New key", [field("Name", name, "Who or what uses it."), scopes], {
      verb: "Make the key",
      act() {
        const chosen = boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
        if (!chosen.length) throw new Problem({ title: "A scope is needed", detail: "Choose what the key may do." });
        return ask("POST", "v1/keys", { json: { name: name.value, scopes: chosen } });
      },
    });
    if (!made) return;
    const text = h("code", { class: "secret", tabindex: 0 }, made.key);
    const copy = navigator.clipboard ? h("button", { type: "button", on: { click: () => during(copy, place, copied) } }, "Copy") : null;
    place.replaceChildren(h("div", { class: "notice", role: "status" }, h("strong", {}, `The key of ${made.name}, shown this once:`), h("p", { class: "row" }, text, copy)));
    await draw();

    async function copied() {
      await navigator.clipboard.writeText(made.key);
      copy.textContent = "Copied";
      return true;
    }
  }
}
