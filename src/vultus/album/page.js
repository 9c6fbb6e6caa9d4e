// Decisions made on the pages. They wait in the browser until they are saved as a file for the command that makes the album.
"use strict";
(() => {
  const body = document.body;
  const key = "vultus-album-" + body.dataset.album;
  const revision = body.dataset.revision;
  const find = (id) => document.getElementById(id);
  const tiles = [...document.querySelectorAll("li[data-who]")];
  let memory = { revision, saved: false, changes: [] };

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(key));
      if (kept && Array.isArray(kept.changes)) memory = kept;
    } catch { /* a browser that keeps nothing: changes are those of this page alone */ }
    // saved changes were handed over once the album has changed
    if (memory.saved && memory.revision !== revision) memory = { revision, saved: false, changes: [] };
  }
  function keep() {
    memory.revision = revision;
    try { localStorage.setItem(key, JSON.stringify(memory)); } catch { /* as above */ }
    show();
  }

  const picked = () => tiles.filter((t) => t.querySelector("input").checked);
  const labels = () => Object.fromEntries(tiles.map((t) => [t.dataset.who, t.dataset.label]));

  function words(change) {
    const whom = change.shown.join(", ");
    if (change.kind === "name") return whom + ": " + change.name;
    if (change.kind === "merge") return "One person: " + whom;
    if (change.kind === "split") return "Not this person: " + whom;
    return "Nothing decided: " + whom;
  }

  function show() {
    const chosen = picked();
    for (const tile of tiles) {
      tile.classList.toggle("picked", tile.querySelector("input").checked);
      tile.classList.toggle("waits", memory.changes.some((c) => c.who.includes(tile.dataset.who)));
    }
    const n = memory.changes.length;
    find("bar").hidden = !chosen.length && !n;
    find("choose").hidden = !chosen.length && !find("name").value;
    find("picked").textContent = chosen.length + " selected";
    find("wait").hidden = !n;
    find("count").textContent = (n === 1 ? "1 change" : n + " changes") + (memory.saved ? ", saved" : ", not saved yet");
    find("changes").replaceChildren(...memory.changes.map((c) => {
      const item = document.createElement("li");
      item.textContent = words(c);
      return item;
    }));
    for (const button of document.querySelectorAll("button[data-kind]")) {
      button.disabled = !chosen.length || (button.dataset.kind === "merge" && chosen.length < 2);
    }
  }

  function add(kind, who, name) {
    const known = labels();
    const change = { kind, who, shown: who.map((w) => known[w] || body.dataset.label || w) };
    if (name) change.name = name;
    memory.changes.push(change);
    memory.saved = false;
    for (const tile of tiles) tile.querySelector("input").checked = false;
    find("name").value = "";
    keep();
  }
  function decide(kind) {
    const who = picked().map((t) => t.dataset.who);
    const name = find("name").value.trim();
    if (!who.length || (kind === "name" && !name)) { if (kind === "name") find("name").focus(); return; }
    add(kind, who, kind === "name" ? name : undefined);
  }

  function save() {
    const changes = memory.changes.map(({ kind, who, name }) => (name ? { kind, who, name } : { kind, who }));
    const text = JSON.stringify({ format: 1, changes }, null, 1) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "album-changes.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    memory.saved = true;
    keep();
  }

  // --- a face in its photo
  const faces = [...document.querySelectorAll("a[data-face]")];
  const dialog = find("look");
  let at = 0;
  function look(i) {
    at = (i + faces.length) % faces.length;
    const face = faces[at].dataset;
    const img = dialog.querySelector("img");
    img.src = faces[at].getAttribute("href");
    img.alt = "Photo " + face.photo;
    const [left, top, width, height] = face.box.split(" ");
    Object.assign(dialog.querySelector("i").style, { left: left + "%", top: top + "%", width: width + "%", height: height + "%" });
    find("photo").textContent = face.photo;
    find("face").textContent = face.face;
    const others = JSON.parse(face.others);
    find("others").replaceChildren(...others.flatMap(([name, page], k) => {
      let part = document.createTextNode(name);
      if (page) { part = document.createElement("a"); part.href = page; part.textContent = name; }
      return [document.createTextNode(k ? ", " : "Also in this photo: "), part];
    }));
    if (!dialog.open) dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-face]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    look(faces.indexOf(link));
  });
  if (dialog) {
    find("before").addEventListener("click", () => look(at - 1));
    find("after").addEventListener("click", () => look(at + 1));
    find("close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") look(at - 1);
      if (event.key === "ArrowRight") look(at + 1);
    });
    dialog.addEventListener("close", () => faces[at].focus());
  }

  load();
  document.documentElement.classList.add("js");
  for (const tile of tiles) tile.querySelector("input").addEventListener("change", show);
  for (const button of document.querySelectorAll("button[data-kind]")) button.addEventListener("click", () => decide(button.dataset.kind));
  find("name").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); decide("name"); } });
  find("save").addEventListener("click", save);
  find("undo").addEventListener("click", () => { memory.changes.pop(); memory.saved = false; keep(); });
  const all = find("all");
  if (all) all.addEventListener("click", () => {
    const on = picked().length < tiles.length;
    for (const tile of tiles) tile.querySelector("input").checked = on;
    show();
  });
  const own = find("own-name");
  if (own) {
    const give = () => { if (own.value.trim()) { add("name", [body.dataset.group], own.value.trim()); own.value = ""; } };
    find("give").addEventListener("click", give);
    own.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); give(); } });
  }
  addEventListener("pageshow", () => { load(); show(); });
  addEventListener("storage", (event) => { if (event.key === key) { load(); show(); } });
  show();
})();
