// Photos without names, grouped by person as a job; each group can be named, which enrols it.

import { ask, formOf, galleryPath } from "../api.js";
import { complain, count, during, empty, field, h, say, tell, when } from "../dom.js";
import { face } from "../faces.js";
import { PhotosField } from "../photos.js";
import { lighter } from "../lighter.js";

const EVERY = 700;
const SHOWN = 24;
const STATES = { waiting: "waits", running: "runs", done: "done", failed: "failed", cancelled: "cancelled" };

export const title = "Groups";

export async function show(root, app) {
  const missing = app.galleries.missing(app.again);
  if (missing) return root.append(missing);
  const photos = new PhotosField("Photos without names", { hint: "Each may show several people.", look: false });
  const go = h("button", { type: "submit", class: "primary" }, "Group the faces");
  const place = h("div", { class: "place" });
  const jobs = h("div", { class: "jobs" });
  const form = h("form", { on: { submit: run } }, app.galleries.chooser(app.again), photos.element, h("div", { class: "row bar" }, go));
  if (app.may("enrol")) root.append(h("p", { class: "lead" }, "Drop a pile of photos. Faces of one person come into one group, and you say who it is."), form);
  root.append(place, h("h2", {}, "Jobs"), jobs);
  await list();
  return undefined;

  async function run(event) {
    event.preventDefault();
    if (!photos.files.length) {
      complain(place, { title: "Photos are needed", detail: "Drop, paste or choose some first." });
      return photos.input.focus();
    }
    const job = await during(go, place, async () => {
      const images = await Promise.all(photos.files.map(lighter));
      return ask("POST", `${galleryPath(app.galleries.name)}/cluster`, { form: formOf({ images }) });
    });
    if (!job) return undefined;
    photos.clear();
    jobs.querySelector(".empty")?.remove();
    return jobs.prepend(card(app, job));
  }

  async function list() {
    try {
      const { jobs: known } = await ask("GET", "v1/jobs");
      jobs.replaceChildren(...known.map((job) => card(app, job)));
      if (!known.length) jobs.append(nothing());
    } catch (problem) {
      complain(place, problem);
    }
  }
}

const nothing = () => empty("No jobs", h("p", {}, "Grouping and purging appear here, with their progress. Results are kept for a day unless the settings say otherwise."));

/** One job: how far it is, and its groups once it is done. */
function card(app, first) {
  const place = h("div");
  const bar = h("progress", { max: 1, "aria-label": `Progress of the job ${first.id}` });
  const state = h("p", { class: "muted small" });
  const stop = h("button", { type: "button", class: "quiet" });
  const groups = h("div", { class: "groups" });
  const name = first.kind === "cluster" ? "Grouping" : "Purge";
  const heading = h("h3", {}, `${name} in ${first.gallery}`);
  const box = h("article", { class: "card job" }, h("div", { class: "row between" }, heading, app.may("enrol") ? stop : null), state, bar, place, groups);
  let now = first;
  stop.addEventListener("click", async () => {
    const done = await during(stop, place, async () => (await ask("DELETE", `v1/jobs/${now.id}`), true));
    if (!done) return undefined;
    if (live(now)) return look();
    const list = box.parentElement;
    box.remove();
    if (list && !list.children.length) list.append(nothing());
    return say("The job is removed");
  });
  draw();
  if (live(now)) setTimeout(look, EVERY);
  else if (now.kind === "cluster" && now.state === "done") look();
  return box;

  async function look() {
    try {
      now = await ask("GET", `v1/jobs/${now.id}`);
      draw();
    } catch (problem) {
      return complain(place, problem);
    }
    if (live(now) && box.isConnected) setTimeout(look, EVERY);
    else say(`${name}: ${STATES[now.state]}`);
    return undefined;
  }

  function draw() {
    bar.hidden = !live(now);
    bar.max = Math.max(1, now.total);
    if (now.state === "running") bar.value = now.done;
    stop.textContent = live(now) ? "Cancel" : "Remove";
    stop.setAttribute("aria-label", `${stop.textContent} the job ${name} in ${now.gallery}`);
    state.replaceChildren(when(now.created), ` · ${STATES[now.state]}${outcome(now)}`);
    if (now.groups) groups.replaceChildren(...shown(app, now, place, look));
  }
}

const live = ({ state }) => state === "waiting" || state === "running";

function outcome({ state, done, total, code, result, kind }) {
  if (state === "running") return ` · ${done} of ${total}`;
  if (code) return `: ${code}`;
  if (!result) return "";
  if (kind === "purge") return ` · ${count(result.templates, "template")} removed`;
  const unread = Object.entries(result.failures ?? {}).map(([why, n]) => `${n} × ${why}`);
  return ` · ${count(result.faces, "face")} in ${count(result.photos, "photo")}, ${count(result.groups, "person", "people")}${unread.length ? ` · not read: ${unread.join(", ")}` : ""}`;
}

function shown(app, job, place, again) {
  const named = job.groups.filter(({ group }) => group >= 0).map((one, i) => groupCard(app, job, one, i + 1, place, again));
  const rest = job.groups.find(({ group }) => group < 0);
  if (!job.groups.length) return [h("p", { class: "muted" }, job.result?.faces ? "All groups are named." : "No face was found in these photos.")];
  const apart = rest ? h("section", { class: "group" }, h("h4", {}, `Could not be placed: ${count(rest.faces.length, "face")}`), faces(job, rest, "A face that could not be placed")) : null;
  return [...named, apart].filter(Boolean);
}

function groupCard(app, job, one, number, place, again) {
  const id = h("input", { type: "text", required: true, maxlength: 256, autocomplete: "off", spellcheck: "false" });
  const name = h("input", { type: "text", maxlength: 256, autocomplete: "off" });
  const go = h("button", { type: "submit", "aria-label": `Enrol group ${number}` }, "Enrol");
  const form = h("form", { class: "row end", on: { submit: run } }, field("Id", id, "An id that is enrolled gets these faces too."), field("Name (optional)", name), go);
  return h("section", { class: "group", "aria-label": `Group ${number}` }, h("h4", {}, `Group ${number}: ${count(one.faces.length, "face")}`), faces(job, one, `A face of group ${number}`), app.may("enrol") ? form : null);

  async function run(event) {
    event.preventDefault();
    const done = await during(go, place, () => ask("POST", `v1/jobs/${job.id}/groups/${one.group}/enrol`, { json: { subject_id: id.value, name: name.value || null } }));
    if (!done) return;
    await again();
    tell(place, h("strong", {}, `${done.subject_id} is enrolled with ${count(done.templates, "template")}.`));
    await app.galleries.refresh();
  }
}

function faces(job, { faces: all }, words) {
  const first = all.slice(0, SHOWN).map(({ face: n, photo }) => h("li", {}, face(`v1/jobs/${job.id}/faces/${n}/thumbnail`, `${words}, photo ${photo + 1}`)));
  const more = all.length > SHOWN ? h("li", { class: "muted" }, `and ${all.length - SHOWN} more`) : null;
  return h("ul", { class: "faces" }, ...first, more);
}
