// Candidates that are not beyond doubt: two people, each with a key of their own, say whether it is the person.

import { addressable, ask, subjectPath } from "../api.js";
import { complain, count, during, empty, field, h, say, when } from "../dom.js";
import { face, portrait } from "../faces.js";
import { bandChip } from "../scale.js";

const STATES = [
  ["open", "Open"],
  ["disputed", "Disputed"],
  ["confirmed", "Confirmed"],
  ["refuted", "Refuted"],
  ["", "All"],
];
const NONE = {
  open: "Nothing waits for a review",
  disputed: "Nothing is disputed",
  confirmed: "Nothing was confirmed yet",
  refuted: "Nothing was refuted yet",
  "": "There are no reviews yet",
};

export const title = "Review queue";

export async function show(root, app) {
  const state = h("select", {}, ...STATES.map(([value, text]) => h("option", { value }, text)));
  const place = h("div", { class: "place" });
  const queue = h("div", { class: "reviews" });
  state.addEventListener("change", list);
  root.append(
    h("p", { class: "lead" }, "Searches whose best candidate is likely but not beyond doubt. Two people must agree, each signed in with a key of their own."),
    field("Show", state),
    place,
    queue,
  );
  await list();

  async function list() {
    complain(place, null);
    try {
      const { reviews } = await ask("GET", `v1/reviews?limit=200${state.value ? `&state=${state.value}` : ""}`);
      const cards = await Promise.all(reviews.map((one) => card(app, one, list)));
      queue.replaceChildren(...cards);
      if (!cards.length) queue.append(empty(NONE[state.value], h("p", {}, "Candidates come here from searches.")));
    } catch (problem) {
      complain(place, problem);
    }
  }
}

async function card(app, one, again) {
  const enrolled = app.may("read") && addressable(one.subject_id) ? await ask("GET", subjectPath(one.gallery, one.subject_id)) : null;
  const name = enrolled?.name ?? one.subject_id;
  const place = h("div");
  const settled = one.state === "confirmed" || one.state === "refuted";
  const decided = one.decisions.some((d) => d.key === app.session.key_id);
  const buttons = settled || decided ? [] : verdicts();
  const probe = one.picture ? `v1/reviews/${one.id}/picture` : null;
  return h(
    "article",
    { class: "card review", "aria-label": `Is it ${name}?` },
    h(
      "div",
      { class: "faces-pair" },
      h("figure", {}, probe ? face(probe, "the person searched for") : h("span", { class: "face initials" }, "No picture kept"), h("figcaption", {}, "Searched for")),
      h("figure", {}, portrait(one.gallery, enrolled ?? one, name), h("figcaption", {}, name)),
    ),
    h("p", { class: "row between" }, h("span", {}, "Candidate ", h("strong", { class: "name" }, name), ` in ${one.gallery}`), bandChip(one.band)),
    h("p", { class: "muted small" }, when(one.created), ` · threshold ${one.threshold.toFixed(3)} · ${one.state}`),
    one.decisions.length ? h("ul", { class: "plain small" }, ...one.decisions.map((d) => h("li", {}, `${d.key === app.session.key_id ? "You" : `Key ${d.key}`}: ${d.verdict}, `, when(d.made)))) : null,
    place,
    settled
      ? null
      : h("div", { class: "row" }, ...buttons, h("span", { class: "muted small" }, `${count(one.decisions.length, "verdict")} so far${decided ? "; another person decides" : ""}`)),
  );

  function verdicts() {
    return [
      ["same", "Same person"],
      ["different", "Different people"],
    ].map(([verdict, text]) => {
      const button = h("button", { type: "button" }, text);
      button.addEventListener("click", async () => {
        const done = await during(button, place, () => ask("POST", `v1/reviews/${one.id}/decision`, { json: { verdict } }));
        if (!done) return;
        say("Your verdict is recorded");
        await again();
      });
      return button;
    });
  }
}
