// Who did what: the log, the newest first, and whether it is whole.

import { ask } from "../api.js";
import { complain, count, during, empty, h, when } from "../dom.js";

const OWN_COLUMN = new Set(["seq", "time", "action", "phase", "key", "gallery", "decision", "result", "hash", "prev"]);
const NUMBER = /^-?\d+\.\d{5,}$/;

export const title = "Audit log";

export async function show(root) {
  const place = h("div", { class: "place" });
  const rows = h("tbody");
  const check = h("button", { type: "button", class: "primary", on: { click: verify } }, "Verify the log");
  const older = h("button", { type: "button", hidden: true }, "Older entries");
  const head = ["No.", "When", "Action", "Key", "Gallery", "Outcome", "More"].map((text) => h("th", { scope: "col" }, text));
  const table = h("table", { class: "log" }, h("caption", { class: "visually-hidden" }, "Entries of the audit log, the newest first"), h("thead", {}, h("tr", {}, ...head)), rows);
  let next = null;
  older.addEventListener("click", () => during(older, place, page));
  root.append(
    h("p", { class: "lead" }, "Every change and decision, chained by hashes. It holds no names, pictures, scores or templates; subjects stand under a keyed hash."),
    h("div", { class: "row" }, check),
    place,
    table,
    older,
  );
  try {
    await page();
  } catch (problem) {
    complain(place, problem);
  }

  async function page() {
    const found = await ask("GET", `v1/audit?limit=50${next ? `&before=${next}` : ""}`);
    rows.append(...found.entries.map(row));
    next = found.next;
    older.hidden = next === null;
    if (!rows.children.length) table.replaceWith(empty("The log is empty", h("p", {}, "What is done from now on appears here.")));
  }

  async function verify() {
    const found = await during(check, place, () => ask("GET", "v1/audit/verify"));
    if (!found) return;
    if (!found.ok) complain(place, { title: "The log is not whole", detail: found.problem });
    else
      place.replaceChildren(
        h("div", { class: "notice", role: "status" }, h("strong", {}, `The log is whole: ${count(found.entries, "entry", "entries")}.`), h("p", { class: "small" }, "Head ", h("code", { class: "hash" }, found.head))),
      );
  }
}

function row(entry) {
  const more = Object.entries(entry)
    .filter(([name, value]) => !OWN_COLUMN.has(name) && value !== null)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, word(value))));
  const outcome = [entry.decision, entry.result].filter(Boolean).join(", ");
  const cells = [
    ["No.", String(entry.seq)],
    ["When", when(entry.time)],
    ["Action", h("span", {}, h("strong", {}, entry.action), entry.phase ? ` · ${entry.phase}` : "")],
    ["Key", entry.key ? h("code", {}, entry.key) : "–"],
    ["Gallery", entry.gallery ?? "–"],
    ["Outcome", outcome || "–"],
    ["More", h("details", {}, h("summary", { "aria-label": `Details of entry ${entry.seq}` }, "Details"), h("dl", {}, ...more, h("div", {}, h("dt", {}, "hash"), h("dd", { class: "hash" }, entry.hash))))],
  ];
  return h("tr", {}, ...cells.map(([name, value]) => h("td", { "data-name": name, class: value === "–" ? "none" : null }, value)));
}

const word = (value) => (typeof value === "object" ? JSON.stringify(value) : NUMBER.test(String(value)) ? Number(value).toFixed(4) : String(value));
