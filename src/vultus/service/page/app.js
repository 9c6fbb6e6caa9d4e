// The page: who is signed in, which section is shown, and what its address says.

import { resume, signIn, signOut, whenEnded } from "./api.js";
import { closeAll } from "./dialog.js";
import { complain, during, field, h } from "./dom.js";
import { Galleries } from "./galleries.js";
import { listen, releaseAll } from "./photos.js";
import * as audit from "./views/audit.js";
import * as groups from "./views/groups.js";
import * as keys from "./views/keys.js";
import * as people from "./views/people.js";
import * as review from "./views/review.js";
import * as search from "./views/search.js";
import * as verify from "./views/verify.js";

// Each section, what its tab says, its module, and the scopes of which sets one must be held in full.
const SECTIONS = [
  ["verify", "Compare", verify, [["identify"]]],
  ["search", "Search", search, [["identify"]]],
  ["people", "People", people, [["read"], ["enrol"]]],
  ["groups", "Groups", groups, [["read"]]],
  ["review", "Review", review, [["identify"]]],
  ["audit", "Audit", audit, [["admin"]]],
  ["keys", "Keys", keys, [["admin"]]],
];
const SIGNED_IN = "vultus.signed-in"; // no secret: only whether asking for the session is worth a request

const main = document.getElementById("main");
const tabs = document.getElementById("tabs");
const who = document.getElementById("who");
let app = null;
let drawing = 0;

const allowed = () => SECTIONS.filter(([, , , sets]) => sets.some((scopes) => scopes.every(app.may)));

async function begin(session) {
  localStorage.setItem(SIGNED_IN, "1");
  const may = (scope) => session.scopes.includes(scope);
  const again = () => draw(current(), {});
  app = { session, may, galleries: new Galleries(may), again, redraw: () => draw(current(), {}, { quiet: true }), go };
  const leave = h("button", { type: "button", class: "quiet", on: { click: end } }, "Sign out");
  who.replaceChildren(h("span", { class: "muted small" }, session.name), leave);
  tabs.replaceChildren(...allowed().map(([id, text]) => h("a", { href: `#${id}`, id: `tab-${id}` }, text)));
  who.hidden = tabs.hidden = false;
  await draw(current(), {});
}

async function end() {
  try {
    await signOut();
  } catch (problem) {
    if (problem.status !== 401) return complain(main.querySelector(".place") ?? main, problem);
  }
  return gate();
}

/** The form that asks for a key. */
function gate(problem = null) {
  app = null;
  drawing += 1;
  localStorage.removeItem(SIGNED_IN);
  closeAll();
  releaseAll();
  who.hidden = tabs.hidden = true;
  document.title = "Sign in · vultus";
  const place = h("div", { class: "place" });
  const key = h("input", { type: "password", required: true, autocomplete: "current-password", spellcheck: "false", maxlength: 256 });
  const account = h("input", { type: "text", value: "vultus", autocomplete: "username", hidden: true }); // for password managers
  const go = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h("form", { class: "card gate", on: { submit } }, h("h1", {}, "Sign in"), account, field("API key", key, "Begins with vk_. The service showed the first one when it started."), place, go);
  main.replaceChildren(form);
  if (problem) complain(place, problem);
  key.focus();

  async function submit(event) {
    event.preventDefault();
    const session = await during(go, place, () => signIn(key.value.trim()));
    if (session) await begin(session);
  }
}

const current = () => {
  const wanted = location.hash.slice(1);
  const open = allowed();
  return (open.find(([id]) => id === wanted) ?? open[0])?.[0];
};

/** Show a section; `given` is handed to it once. */
function go(id, given = {}) {
  if (location.hash === `#${id}`) return draw(id, given);
  handed = given;
  location.hash = id;
  return undefined;
}
let handed = {};

async function draw(id, given, { quiet = false } = {}) {
  const mine = ++drawing;
  if (!id) return main.replaceChildren(h("h1", {}, "Nothing to do here"), h("p", {}, "This key has no scope that the page has a section for."));
  const [, , view] = SECTIONS.find(([one]) => one === id);
  for (const tab of tabs.children) {
    if (tab.id === `tab-${id}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${view.title} · vultus`;
  if (!quiet) {
    closeAll();
    releaseAll();
  }
  const heading = h("h1", { tabindex: -1 }, view.title);
  const root = h("div", { class: "view" }, heading);
  if (!quiet) {
    main.replaceChildren(root);
    window.scrollTo(0, 0);
  }
  const place = h("div", { class: "place" });
  try {
    await app.galleries.refresh();
    if (mine === drawing) await view.show(root, app, given);
  } catch (problem) {
    root.append(place);
    complain(place, problem);
  }
  if (mine !== drawing) return undefined;
  if (quiet) main.replaceChildren(root);
  else if (!root.contains(document.activeElement) && !document.querySelector("dialog[open]")) heading.focus({ preventScroll: true }); // once there is something to go on to
  return undefined;
}

whenEnded((problem) => app && gate(problem));
window.addEventListener("hashchange", () => {
  if (!app || !allowed().some(([id]) => `#${id}` === location.hash)) return;
  const given = handed;
  handed = {};
  draw(current(), given);
});
listen();

if (localStorage.getItem(SIGNED_IN)) {
  try {
    await begin(await resume());
  } catch (problem) {
    gate(problem.status === 401 ? { title: "Please sign in again", detail: "The session has ended." } : problem);
  }
} else {
  gate();
}
