// The only place that talks to the service: the session's token goes with every change, and every refusal is a Problem.

/** What the service refused, in its own words. */
export class Problem extends Error {
  constructor({ title, detail, status = 0, code = "", request_id: requestId = "" }, retryAfter = null) {
    super(detail);
    Object.assign(this, { title, detail, status, code, requestId, retryAfter });
  }
}

let token = null;
let onEnd = () => {};

/** Call `act` when the service says that the session has ended. */
export const whenEnded = (act) => (onEnd = act);

/**
 * Ask the service. `json` or `form` is the body. Gives what it answers: JSON, or a Blob for a picture.
 * Throws a Problem where it refuses or cannot be reached.
 */
export async function ask(method, path, { json, form, headers = {} } = {}) {
  const sent = { ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (token && method !== "GET") sent["X-CSRF-Token"] = token;
  let answer;
  try {
    const body = json === undefined ? form : JSON.stringify(json);
    answer = await fetch(path, { method, body, headers: sent, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Problem({ title: "The service cannot be reached", detail: "Is it still running? It also ends the connection where a photo is too large." });
  }
  if (answer.ok) {
    if (answer.status === 204) return null;
    return (answer.headers.get("Content-Type") ?? "").startsWith("application/json") ? answer.json() : answer.blob();
  }
  throw await refusal(answer, path);
}

async function refusal(answer, path) {
  const told = await answer.json().catch(() => ({}));
  const problem = new Problem(
    { title: answer.statusText || `Status ${answer.status}`, detail: "The service gave no reason.", status: answer.status, ...told },
    Number(answer.headers.get("Retry-After")) || null,
  );
  if (answer.status === 401 && path !== "session") {
    token = null;
    onEnd(problem);
  }
  return problem;
}

/** A form of the fields that are not empty; lists become repeated parts. */
export function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one === null || one === undefined || one === "") continue;
      if (one instanceof Blob) form.append(name, one, "photo");
      else form.append(name, String(one));
    }
  }
  return form;
}

/** Exchange a key for a session. */
export const signIn = async (key) => opened(await ask("POST", "session", { json: { key } }));

/** The session of the cookie, after a reload. */
export const resume = async () => opened(await ask("GET", "session"));

/** End the session. */
export async function signOut() {
  await ask("DELETE", "session");
  token = null;
}

function opened({ csrf, ...session }) {
  token = csrf;
  return session;
}

/** The address of a gallery. Throws a Problem where none is chosen. */
export function galleryPath(gallery) {
  if (!gallery) throw new Problem({ title: "A gallery is needed", detail: "Type its name first." });
  return `v1/galleries/${encodeURIComponent(gallery)}`;
}

/** Whether a browser can ask for this subject: it takes "." and ".." for folders, however they are written. */
export const addressable = (id) => id !== "." && id !== "..";

/** The address of a subject. Throws a Problem for an id that is not addressable. */
export function subjectPath(gallery, id) {
  if (!addressable(id)) throw new Problem({ title: "This id cannot be used here", detail: "Browsers take . and .. in an address for folders. Use another id, or the API." });
  return `${galleryPath(gallery)}/subjects/${encodeURIComponent(id)}`;
}

/** A key that makes the repetition of a request harmless. Works without a secure context, unlike randomUUID. */
export const requestKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
