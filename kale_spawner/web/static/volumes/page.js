// The Volumes page: four lists in tabs, one search, what happened in words, and the hub's news.

import { makeActions } from "./actions.js";
import { makeApi } from "./api.js";
import { keepLive } from "./live.js";
import { closeMenu, openMenu } from "./menu.js";
import { el, makeTable } from "./table.js";
import * as words from "./words.js";

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("kv-data").textContent);
let state = page.state;
const api = makeApi(page.base, page.user, page.xsrf);

// What a reload brings back: the search, and each list's order.
const KEPT = `kale-volumes:${page.user}`;
const kept = (() => {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
})();
function keep(changes) {
  Object.assign(kept, changes);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // A browser that keeps nothing.
  }
}

// --- what happened, in words: shown, and spoken ---

const news = byId("kv-news");
let told = 0;
let heldBack = [];

function tell(text, link) {
  // What is said while a dialog is open would be lost behind it, to eyes and to ears.
  if (document.querySelector("dialog[open]")) {
    heldBack.push([text, link]);
    return;
  }
  // Two things at once are said both: an own deed, and what the hub tells of it right after.
  const now = performance.now();
  const line = el("p", {}, `${text} `, link && link.href.startsWith("/") ? el("a", { href: link.href }, link.text) : null);
  // A link is not taken from under the pointer by what is told next.
  for (const old of [...news.children]) if (now - told >= 1500 && !(old.querySelector("a") && now - old.told < 30000)) old.remove();
  line.told = now;
  news.append(line);
  while (news.childElementCount > 3) news.firstElementChild.remove();
  told = now;
}

// --- cells ---

const dot = (row) => {
  const tone = words.tone(row.state);
  return el("span", { class: `kv-state kv-${tone}` }, el("i", { "aria-hidden": "true" }), words.capital(words.state(row)));
};

function sizeCell(volume) {
  const full = `${words.size(volume.size_bytes)}`;
  const wanted = volume.wanted_size ? el("span", { class: "kv-quiet kv-num" }, ` → ${words.units(volume.wanted_size)}`) : null;
  const { usage } = volume;
  if (!usage || !usage.capacity_bytes) return [el("span", { class: "kv-num" }, full), wanted];
  const part = Math.min(1, usage.used_bytes / usage.capacity_bytes);
  const bar = el("meter", { class: "kv-meter", min: 0, max: 1, low: 0.8, high: 0.9, optimum: 0, value: part.toFixed(3), "aria-hidden": "true" });
  const tight = part >= 0.9 ? " kv-tight" : "";
  return [
    el("span", { class: "kv-num" }, full),
    wanted,
    el("span", { class: "kv-usage" }, bar, el("span", { class: `kv-small${tight}` }, `${words.size(usage.used_bytes)} used${part >= 0.9 ? ", nearly full" : ""}`)),
  ];
}

const when = (field) => (row) => {
  const moment = row[field] || row.created;
  return moment ? el("time", { datetime: moment, title: words.moment(moment) }, words.capital(words.age(moment))) : "";
};
const time = (field) => (row) => (row[field] || row.created ? Date.parse(row[field] || row.created) : "");
// The cluster names a set's snapshots by numbers that nobody can read.
const called = (row) => (row.set ? `${row.set}: ${row.volume}` : row.name);
const name = (row) => el("span", { class: "kv-name", title: row.name }, called(row));
const usedBy = (volume) => [...volume.servers.map(words.server), ...(volume.used_elsewhere ? ["something else"] : [])];
// What a stopped server takes up again when it starts.
const keptBy = (volume) => state.servers.filter((each) => !each.running && each.volumes.includes(volume.name)).map((each) => words.server(each.name));
function usedCell(volume) {
  const users = usedBy(volume);
  if (users.length || !volume.kept.length) return words.capital(words.list(users));
  return el("span", { class: "kv-quiet" }, `${words.capital(words.list(volume.kept))}, stopped`);
}
const text = (field) => ({ cell: (row) => row[field] ?? "", sort: (row) => row[field] ?? "" });
const order = { danger: 0, busy: 1, new: 2, ready: 3 };
const NAME = { id: "name", head: "Name", cell: name, sort: called, className: "kv-first" };
const STATE = { id: "state", head: "State", className: "kv-wide", cell: dot, sort: (row) => order[words.tone(row.state)] };
const SIZE = { id: "size", head: "Size", cell: (row) => el("span", { class: "kv-num" }, words.size(row.size_bytes ?? row.size)), sort: (row) => row.size_bytes ?? row.size };
const TAKEN = { id: "taken", head: "Taken", cell: when("taken"), sort: time("taken") };
const serverCell = (row) => words.capital(words.server(row.server));

const noun = page.own ? "You have" : `${page.user} has`;
const LISTS = {
  volumes: {
    title: "Volumes",
    rows: () => state.volumes.map((each) => ({ ...each, kept: keptBy(each) })),
    columns: [
      NAME,
      STATE,
      { ...SIZE, cell: sizeCell },
      { id: "used", head: "Used by", cell: usedCell, sort: (row) => usedBy(row).join() || row.kept.join() },
      { id: "made", head: "Made", cell: when("created"), sort: time("created") },
      { id: "from", head: "From", className: "kv-wide", ...text("origin_text"), cell: (row) => words.capital(row.origin_text) },
    ],
    of: (row) => actions.ofVolume(row),
    empty: () => [`${noun} no volumes yet: starting a server makes its workspace. `, page.own ? el("a", { href: `${page.base}spawn` }, "Start a server") : null],
  },
  snapshots: {
    title: "Snapshots",
    rows: () => state.snapshots,
    columns: [
      NAME,
      { id: "volume", head: "Of volume", ...text("volume") },
      STATE,
      SIZE,
      TAKEN,
      { id: "reason", head: "Why", cell: (row) => words.capital([row.set && `part of ${row.set}`, words.reason(row.reason)].filter(Boolean).join(", ")), sort: (row) => row.set || row.reason },
    ],
    of: (row) => actions.ofSnapshot(row),
    empty: () => (state.snapshots_missing ? "" : `${noun} no snapshots yet. A snapshot keeps a volume as it is at one moment: “Take a snapshot” is among the actions of each volume.`),
  },
  sets: {
    title: "Whole-server snapshots",
    rows: () => state.sets,
    columns: [
      NAME,
      { id: "server", head: "Server", cell: serverCell, sort: (row) => row.server },
      STATE,
      { id: "volumes", head: "Volumes", className: "kv-wide", cell: (row) => row.volumes.join(", "), sort: (row) => row.volumes.length },
      { ...TAKEN, cell: when("created"), sort: time("created") },
      { id: "kind", head: "How", cell: (row) => words.capital([row.kind_text, words.reason(row.reason)].filter(Boolean).join(", ")), sort: (row) => row.kind_text },
    ],
    of: (row) => actions.ofSet(row),
    empty: () => (state.snapshots_missing ? "" : `${noun} no whole-server snapshots yet. One keeps all volumes of a server and the choices that started it, and brings them back in one step.`),
  },
  shared: {
    title: page.own ? "Shared with you" : `Shared with ${page.user}`,
    rows: () => [
      ...state.shared.volumes.map((each) => ({ ...each, what: "volume" })),
      ...state.shared.snapshots.map((each) => ({ ...each, what: "snapshot" })),
    ],
    columns: [
      NAME,
      { id: "what", head: "What", cell: (row) => words.capital(row.what), sort: (row) => row.what },
      { id: "about", head: "About", className: "kv-wide", cell: (row) => row.shared?.description ?? "", sort: (row) => row.shared?.description ?? "" },
      SIZE,
      { id: "may", head: "Access", cell: (row) => (row.what === "snapshot" ? "A copy" : row.shared?.writable ? "Read and write" : "Read only"), sort: (row) => String(row.shared?.writable) },
    ],
    of: (row) => actions.ofShared(row),
    empty: () => "",
  },
};

// What was done here a moment ago was told then: that it begins is not told once more.
const deeds = [];
const wasTold = (row) =>
  ["busy", "new"].includes(words.tone(row.state)) &&
  deeds.some(([when, names]) => performance.now() - when < 10000 && (names.has(row.name) || names.has(row.set)));

const actions = makeActions({
  api,
  page,
  state: () => state,
  done(said, link) {
    deeds.push([performance.now(), new Set(said.split(/[ .:,]+/))]);
    tell(said, link);
    live.now();
  },
});

// --- tabs (WAI-ARIA: arrows move and choose, one tab stop) ---

const tabs = el("div", { role: "tablist", class: "nav nav-tabs kv-tabs", "aria-label": "Lists" });
const panels = el("div", { class: "kv-panels" });
let chosen = "";

for (const [id, each] of Object.entries(LISTS)) {
  each.count = el("span", { class: "badge text-bg-secondary kv-count" });
  each.tab = el(
    "button",
    { type: "button", role: "tab", class: "nav-link", id: `kv-tab-${id}`, "aria-controls": `kv-panel-${id}`, onclick: () => choose(id) },
    each.title,
    " ",
    each.count,
  );
  each.nothing = el("p", { class: "kv-quiet kv-nothing", hidden: true });
  each.note = el("p", { class: "alert alert-secondary kv-note", hidden: true });
  each.panel = el("div", { role: "tabpanel", id: `kv-panel-${id}`, "aria-labelledby": `kv-tab-${id}`, tabindex: "-1", hidden: true }, each.note, each.nothing);
  each.table = makeTable({
    id: `kv-table-${id}`,
    columns: each.columns,
    caption: each.title,
    keyOf: (row) => `${row.what ?? ""}/${row.name}`,
    textOf: (row) => [row.name, row.volume, row.server, row.origin_text, row.set, row.shared?.description, words.state(row), ...(row.servers ?? []).map(words.server), ...(row.volumes ?? [])].join(" "),
    sorted: kept[id] ?? (id === "volumes" || id === "shared" ? ["name", "up"] : ["taken", "down"]),
    onsort: (sort) => keep({ [id]: sort }),
    actions: (row, button, last) => openMenu(button, `Actions for ${row.name}`, each.of(row), last),
  });
  each.panel.append(each.table.root);
  tabs.append(each.tab);
  panels.append(each.panel);
}

tabs.addEventListener("keydown", (event) => {
  const open = Object.keys(LISTS).filter((id) => !LISTS[id].tab.hidden);
  const at = open.indexOf(chosen);
  const to = { ArrowRight: (at + 1) % open.length, ArrowLeft: (at - 1 + open.length) % open.length, Home: 0, End: open.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(open[to]);
  LISTS[open[to]].tab.focus();
});

function choose(id) {
  closeMenu();
  chosen = id;
  for (const [other, each] of Object.entries(LISTS)) {
    each.tab.classList.toggle("active", other === id);
    each.tab.setAttribute("aria-selected", String(other === id));
    each.tab.tabIndex = other === id ? 0 : -1;
    each.panel.hidden = other !== id;
  }
  if (window.location.hash.slice(1) !== id) history.replaceState(null, "", `#${id}`);
  fill(id);
}

// --- a whole server's snapshot is the one action that no row has ---

const take = el("button", { type: "button", class: "btn btn-sm btn-primary", "aria-describedby": "kv-take-why" }, "Take a snapshot of a whole server…");
const takeWhy = el("span", { class: "kv-quiet", id: "kv-take-why" });
take.addEventListener("click", () => take.getAttribute("aria-disabled") !== "true" && actions.takeSet());
LISTS.sets.panel.prepend(el("div", { class: "kv-bar" }, take, takeWhy));

// --- fill in ---

const search = byId("kv-search");

// Only the list that is looked at is drawn; the others when they are chosen.
function fill(id) {
  const { table, rows, nothing, empty, note } = LISTS[id];
  const all = rows();
  table.show(all);
  table.root.hidden = all.length === 0;
  nothing.hidden = all.length > 0;
  if (!all.length) nothing.replaceChildren(...[empty()].flat().filter(Boolean));
  nothing.hidden ||= !nothing.hasChildNodes();
  if (note) {
    const missing = id === "snapshots" || id === "sets" ? state.snapshots_missing : "";
    note.hidden = !missing;
    note.textContent = missing && words.capital(missing);
  }
}

function countAll() {
  const needle = search.value.trim().toLowerCase();
  for (const [id, each] of Object.entries(LISTS)) {
    const all = each.rows();
    const found = id === chosen ? each.table.search(needle) : needle ? all.filter((row) => JSON.stringify(row).toLowerCase().includes(needle)).length : all.length;
    const said = needle ? `${found} of ${all.length}` : String(all.length);
    if (each.count.textContent !== said) each.count.textContent = said;
  }
}

function show() {
  LISTS.shared.tab.hidden = !LISTS.shared.rows().length;
  if (LISTS[chosen].tab.hidden) choose("volumes");
  fill(chosen);
  countAll();
  const why = actions.whyNotTakeSet();
  if (why) take.setAttribute("aria-disabled", "true");
  else take.removeAttribute("aria-disabled");
  takeWhy.textContent = why;
  panels.classList.toggle("kv-waiting", !state.version);
}

search.addEventListener("input", () => {
  keep({ search: search.value });
  countAll();
});

// --- what changed, in words ---

function changes(before, now) {
  const said = [];
  const kinds = [["volumes", "Volume"], ["snapshots", "Snapshot"], ["sets", "Whole-server snapshot"]];
  for (const [kind, noun] of kinds) {
    const old = new Map(before[kind].map((each) => [each.name, each]));
    for (const each of now[kind]) {
      const was = old.get(each.name);
      old.delete(each.name);
      const what = `${noun} ${each.name}`;
      if (was?.state !== each.state && wasTold(each)) continue;
      if (each.set && each.state !== "failed") continue; // its set tells
      if (!was) said.push(`${what} is new: ${words.state(each)}.`);
      else if (was.state !== each.state) said.push(was.state === "growing" && each.state === "ready" ? `${what} has grown to ${words.size(each.size_bytes)}.` : `${what}: ${words.state(each)}.`);
      else if (each.servers && was.servers.join() !== each.servers.join())
        said.push(each.servers.length ? `${what} is used by ${words.list(each.servers.map(words.server))}.` : `${what} is not used by a server any more.`);
    }
    for (const gone of old.values()) if (!gone.set) said.push(`${noun} ${gone.name} is gone.`);
  }
  return said;
}

let unsaid = null; // the state before what is not told yet

function takeIn(fresh) {
  if (state.version) unsaid ??= state;
  state = fresh;
  show();
  if (!document.querySelector("dialog[open]")) sayChanges();
}

function sayChanges() {
  const said = unsaid ? changes(unsaid, state) : [];
  unsaid = null;
  if (said.length) tell(said.slice(0, 3).join(" ") + (said.length > 3 ? ` And ${words.plural(said.length - 3, "further change")}.` : ""));
}

// --- the hub does not answer ---

const trouble = byId("kv-trouble");
let lastHeard = new Date();

function complain(error, seconds) {
  if (!error) {
    lastHeard = new Date();
    if (!trouble.hidden) {
      if (trouble.contains(document.activeElement)) LISTS[chosen].tab.focus();
      trouble.hidden = true;
      tell("The hub answers again.");
    }
    return;
  }
  const clock = lastHeard.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const what =
    error.kind === "login"
      ? ["You are not logged in any more. ", el("a", { href: window.location.pathname, class: "alert-link" }, "Log in again")]
      : [error.kind === "net" ? "The hub does not answer. " : `${error.message} `, `What is shown is of ${clock}; asked again every ${seconds > 1 ? `${seconds} seconds` : "second"}. `];
  // Spoken once, not at each attempt: only the first line of an outage is an alert's change.
  if (trouble.hidden || trouble.dataset.kind !== error.kind) {
    trouble.dataset.kind = error.kind;
    const again = el("button", { type: "button", class: "btn btn-sm btn-outline-secondary", onclick: () => live.now() }, "Ask now");
    trouble.replaceChildren(el("span", {}, what), error.kind === "login" ? "" : again);
    trouble.hidden = false;
  }
}

byId("kv-lists").append(tabs, panels);
document.querySelector(".kv-search").hidden = false;
search.value = kept.search ?? "";
const asked = window.location.hash.slice(1);
choose(Object.hasOwn(LISTS, asked) ? asked : "volumes");
show();
const live = keepLive(api, state.version, takeIn, complain);

document.querySelector("dialog").addEventListener("close", () => {
  setTimeout(() => {
    for (const [said, link] of heldBack.splice(0)) tell(said, link);
    sayChanges();
  });
});
window.addEventListener("hashchange", () => {
  const id = window.location.hash.slice(1);
  if (Object.hasOwn(LISTS, id) && id !== chosen && !LISTS[id].tab.hidden) choose(id), countAll();
});
setInterval(() => {
  for (const { table, columns } of Object.values(LISTS))
    columns.forEach((column, index) => ["made", "taken"].includes(column.id) && table.refresh(index));
}, 60000);
