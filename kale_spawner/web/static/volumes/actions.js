// What can be done with each row: whether now, what is asked first, what is said, and the call.
//
// context: { api, page (what the hub told of the page), state() , done(text, link?) }

import { ask } from "./dialog.js";
import { enc } from "./api.js";
import { age, capital, freeName, list, plural, server, size, stamp, units } from "./words.js";

export function makeActions({ api, page, state, done }) {
  const volumeNames = () => new Set(state().volumes.map((each) => each.name));
  const snapshotNames = () => new Set([...state().snapshots, ...state().sets].map((each) => each.name));
  const made = (row) => (row.created ? `, made ${age(row.created)}` : "");
  const noRight = () => (page.mayChange ? "" : "You may see these volumes, but not change them.");
  const snapshotsOf = (name) => state().snapshots.filter((each) => each.volume === name && each.state === "ready");
  const users = (volume) => list(volume.servers.map(server));

  const mounted = (volume, what) =>
    volume.servers.length
      ? `Mounted by ${users(volume)}: stop it first, ${what}.`
      : volume.used_elsewhere
        ? `Mounted by something else than your servers: that has to stop first, ${what}.`
        : "";
  const going = (row) => (row.state === "deleting" ? "It is being deleted." : "");
  const notYet = (volume) =>
    ({ new: "It is new: its disk is made when the first server mounts it.", preparing: "It is still being made.", lost: "Its disk is lost." })[volume.state] ?? "";
  const wanting = () => capital(state().snapshots_missing);

  // Volumes that are to be filled from it, and are not made yet.
  function waitFor(source, name, then) {
    const names = state().volumes.filter((each) => each.state === "new" && each.origin?.source === source && each.origin.name === name).map((each) => each.name);
    const [are, were] = names.length > 1 ? ["are", "were"] : ["is", "was"];
    return names.length ? `${list(names)} ${are} to be filled from ${name} and ${were} not mounted yet: ${then}.` : "";
  }
  const FIRST = "start a server with that first, or delete it";
  const SMALL = "a larger volume does not fit into that; start a server with it first";
  // Kubernetes keeps a snapshot until then; a volume it does not.
  const KEPT = "the snapshot is kept until that is done, then deleted";

  // --- volumes ---

  function startLink(volume, shared = false) {
    const running = new Set(state().servers.filter((each) => each.running).map((each) => each.name));
    // To look at a spawn page is enough for JupyterHub to know a name.
    const known = new Set(state().servers.filter((each) => each.running || each.volumes.length).map((each) => each.name));
    if (running.has("") && !page.namedServers) return { text: "Start a server with it", why: "Your server is running: stop it first." };
    const busy = going(volume) || (volume.state === "lost" ? "Its disk is lost." : "");
    const name = running.has("") ? freeName("lab", known) : "";
    const text = running.has("") ? `Start a server “${name}” with it` : "Start a server with it";
    // What was never mounted goes where the volume went that its files are from.
    const from = volume.origin?.source === "clone" ? volume.origin.name : volume.origin?.volume;
    const mount = volume.mount || state().volumes.find((each) => each.name === from)?.mount;
    const called = from || volume.name;
    const asHome = !shared && (mount ? mount === page.home : /(^|-)workspace\b/.test(called));
    const stem = asHome ? "workspace" : "data_volumes.0";
    const wanted = {
      source: shared ? "shared" : "existing",
      [shared ? "shared" : "claim"]: volume.name,
      mount: mount || (asHome ? page.home : `${page.home}/${volume.name}`),
    };
    const query = Object.entries(wanted).map(([key, value]) => `${page.linkPrefix}${stem}.${key}=${enc(value)}`);
    const path = name ? `spawn/${enc(page.user)}/${enc(name)}` : page.own ? "spawn" : `spawn/${enc(page.user)}`;
    return { text, why: noRight() || busy, href: `${page.base}${path}?${query.join("&")}` };
  }

  function takeSnapshot(volume) {
    ask({
      title: `Take a snapshot of ${volume.name}`,
      say: () => [
        `Keeps ${volume.name} (${size(volume.size_bytes)}) as it is at this moment. The volume itself does not change.`,
        volume.servers.length ? `It is mounted by ${users(volume)}, which can go on: what a program has not written to its files yet is not in the snapshot.` : "",
      ],
      fields: [{ name: "name", label: "Name of the snapshot", value: freeName(`${volume.name.slice(0, 49)}-${stamp()}`, snapshotNames()) }],
      action: "Take snapshot",
      run: async ({ name }) => {
        const snapshot = await api.call("POST", "snapshots", { volume: volume.name, name });
        done(`Snapshot ${snapshot.name} of ${volume.name} is being taken.`);
      },
    });
  }

  function clone(volume) {
    ask({
      title: `Clone ${volume.name}`,
      say: ({ name }) => [
        `Makes a new volume ${name ? `${name} ` : ""}with a copy of all files of ${volume.name} (${size(volume.size_bytes)}). ${volume.name} stays as it is.`,
        volume.servers.length ? `It is mounted by ${users(volume)}: what is written while it is copied may be in the copy or not.` : "",
        `In some clusters the copy is made when a server first mounts it: the new volume says so, and ${volume.name} has to stay until then.`,
      ],
      fields: [
        { name: "name", label: "Name of the new volume", value: freeName(`${volume.name.slice(0, 55)}-clone`, volumeNames()) },
        { name: "size", label: "Size", kind: "size", value: volume.size_bytes, hint: `At least ${size(volume.size_bytes)}.` },
      ],
      action: "Clone",
      run: async (given) => {
        const fresh = await api.call("POST", "volumes", { source: "clone", origin: volume.name, ...given });
        done(fresh.state === "new" ? `Volume ${fresh.name} becomes a clone of ${volume.name} when a server first mounts it.` : `Volume ${fresh.name} is being made, a clone of ${volume.name}.`);
      },
    });
  }

  function grow(volume) {
    const proposal = volume.size_bytes + Math.max(2 ** 30, Math.round(volume.size_bytes / 2));
    ask({
      title: `Grow ${volume.name}`,
      say: ({ size: wanted }) => [
        `Makes ${volume.name} larger: from ${size(volume.size_bytes)} to ${wanted ? units(wanted) : "…"}. Its files stay. It cannot be made smaller again.`,
        volume.servers.length ? `It is mounted by ${users(volume)}, which can go on.` : "",
        waitFor("clone", volume.name, SMALL),
      ],
      fields: [{ name: "size", label: "New size", kind: "size", value: proposal, hint: `It has ${size(volume.size_bytes)} now.` }],
      action: "Grow",
      run: async (given) => {
        await api.call("PATCH", `volumes/${enc(volume.name)}`, given);
        done(`Volume ${volume.name} is growing to ${units(given.size)}.`);
      },
    });
  }

  function deleteVolume(volume) {
    const kept = snapshotsOf(volume.name).length;
    const may = state().snapshots_missing || notYet(volume) ? "never" : state().last_snapshot;
    ask({
      title: `Delete ${volume.name}?`,
      danger: true,
      say: ({ snapshot }) => [
        `Deletes volume ${volume.name} (${size(volume.size_bytes)}${made(volume)})${volume.state === "new" ? ". No server ever mounted it: there is nothing in it yet." : " with all files in it."}`,
        volume.state === "new" ? "" : may === "always" || snapshot
          ? "A last snapshot is taken first; if that fails, the volume stays. From the snapshot it can be restored."
          : kept
            ? `Nobody can bring it back, except as it was in a snapshot of it: there ${kept === 1 ? "is 1" : `are ${kept}`}.`
            : "Nobody can bring it back: there is no snapshot of it.",
      ],
      fields: may === "offered" ? [{ name: "snapshot", label: "Take a last snapshot of it first", kind: "check", value: !kept }] : [],
      action: "Delete volume",
      run: async ({ snapshot }) => {
        const query = may === "offered" ? `?snapshot=${Boolean(snapshot)}` : "";
        const answer = await api.call("DELETE", `volumes/${enc(volume.name)}${query}`);
        done(`Volume ${volume.name} is being deleted.${answer.snapshot ? ` Its last snapshot is ${answer.snapshot}.` : ""}`);
      },
    });
  }

  function ofVolume(volume) {
    const own = noRight() || going(volume);
    return [
      startLink(volume),
      { text: "Take a snapshot…", why: own || wanting() || notYet(volume), act: () => takeSnapshot(volume) },
      { text: "Clone…", why: own || notYet(volume), act: () => clone(volume) },
      { text: "Grow…", why: own || (volume.can_grow ? "" : capital(volume.why_not_grow) || "It cannot grow now."), act: () => grow(volume) },
      { text: "Delete…", danger: true, why: own || mounted(volume, "then delete") || waitFor("clone", volume.name, FIRST), act: () => deleteVolume(volume) },
    ];
  }

  // --- snapshots ---

  function restore(snapshot) {
    ask({
      title: `Restore ${snapshot.name}`,
      say: ({ name }) => [
        `Makes a new volume ${name ? `${name} ` : ""}with the files of ${snapshot.volume || "the volume"} as they were ${age(snapshot.taken || snapshot.created)}.`,
        volumeNames().has(snapshot.volume) ? `The volume ${snapshot.volume} and this snapshot stay as they are.` : "This snapshot stays as it is.",
      ],
      fields: [
        { name: "name", label: "Name of the new volume", value: freeName(`${(snapshot.volume || snapshot.name).slice(0, 52)}-restored`, volumeNames()) },
        { name: "size", label: "Size", kind: "size", value: snapshot.size_bytes, hint: `At least ${size(snapshot.size_bytes)}.` },
      ],
      action: "Restore",
      run: async (given) => {
        const fresh = await api.call("POST", "volumes", { source: "snapshot", origin: snapshot.name, ...given });
        done(fresh.state === "new" ? `Volume ${fresh.name} gets the files of snapshot ${snapshot.name} when a server first mounts it.` : `Volume ${fresh.name} is being made from snapshot ${snapshot.name}.`);
      },
    });
  }

  function deleteSnapshot(snapshot) {
    const others = snapshotsOf(snapshot.volume).filter((each) => each.name !== snapshot.name).length;
    const there = volumeNames().has(snapshot.volume);
    ask({
      title: `Delete ${snapshot.name}?`,
      danger: true,
      say: () => [
        `Deletes snapshot ${snapshot.name} of ${snapshot.volume} (${size(snapshot.size_bytes)}, taken ${age(snapshot.taken || snapshot.created)}). Nobody can bring it back.`,
        there
          ? `The volume ${snapshot.volume} stays, and volumes made from this snapshot stay.`
          : `The volume ${snapshot.volume} is not there any more${others ? `; there ${others === 1 ? "is" : "are"} ${plural(others, "other snapshot")} of it` : ", and this is its only snapshot"}. Volumes made from this snapshot stay.`,
        waitFor("snapshot", snapshot.name, KEPT),
      ],
      action: "Delete snapshot",
      run: async () => {
        await api.call("DELETE", `snapshots/${enc(snapshot.name)}`);
        done(`Snapshot ${snapshot.name} is being deleted.`);
      },
    });
  }

  const whyNotRestore = (snapshot) =>
    going(snapshot) || { taking: "It is still being taken.", failed: "It failed: there is nothing in it." }[snapshot.state] || "";

  function ofSnapshot(snapshot) {
    const part = snapshot.set ? `It is part of the whole-server snapshot ${snapshot.set}: delete that.` : "";
    return [
      { text: "Restore as a new volume…", why: noRight() || whyNotRestore(snapshot), act: () => restore(snapshot) },
      { text: "Delete…", danger: true, why: noRight() || going(snapshot) || part, act: () => deleteSnapshot(snapshot) },
    ];
  }

  // --- whole-server snapshots ---

  const kept = () => state().servers.filter((each) => each.volumes.length);

  function takeSet() {
    const options = kept().map((each) => [each.name, capital(server(each.name)) + (each.running ? " (running)" : "")]);
    ask({
      title: "Take a snapshot of a whole server",
      say: ({ server: name }) => {
        const running = kept().find((each) => each.name === name)?.running;
        return [
          `Keeps all volumes of ${server(name)} as they are at this moment, and the choices that started it, so that it can be restored in one step. Nothing changes for the server.`,
          running ? "It is running and can go on: what a program has not written to its files yet is not in the snapshot." : "",
        ];
      },
      fields: [
        { name: "server", label: "Server", kind: "select", options, value: options[0]?.[0] },
        { name: "name", label: "Name of the snapshot", value: ({ server: name }) => freeName(`${(name || "server").slice(0, 49)}-${stamp()}`, snapshotNames()) },
      ],
      action: "Take snapshot",
      run: async (given) => {
        const set = await api.call("POST", "snapshot-sets", given);
        done(`Whole-server snapshot ${set.name} is being taken: ${plural(set.size, "volume")}, ${set.kind_text}.`);
      },
    });
  }

  const whyNotTakeSet = () => noRight() || wanting() || (kept().length ? "" : "No server has volumes yet: start one first.");

  function restoreSet(set) {
    const known = state().servers.map((each) => each.name);
    const running = new Set(state().servers.filter((each) => each.running).map((each) => each.name));
    const stem = set.server ? `${set.server.slice(0, 40)}-restored` : "restored";
    const fresh = set.server && !known.includes(set.server) ? set.server : freeName(stem, new Set(known));
    const there = known.includes(set.server);
    const options = [];
    if (page.namedServers) options.push(["new", "As a new server"]);
    if (there || !page.namedServers) options.push(["over", `Over ${server(set.server)}`]);
    const volumes = set.volumes.length ? list(set.volumes) : "its volumes";
    // What the hub would call the new volumes, by the server that is to have them.
    const called = new Map();
    function namesFor(target) {
      if (!called.has(target)) {
        called.set(target, []);
        const told = (answer) => (called.set(target, Object.values(answer.volumes)), question.refresh());
        // Where it does not say, the answer to the restore will.
        api.call("GET", `snapshot-sets/${enc(set.name)}/restore?server=${enc(target)}`).then(told, () => {});
      }
      return called.get(target);
    }
    const question = ask({
      title: `Restore ${set.name}`,
      say: ({ how, server: name }) => {
        const target = how === "over" ? set.server : name;
        const names = how === "new" && !name ? [] : namesFor(target);
        const timed = names.some((each) => /-r[0-9]{4}-[0-9]{4}(-[0-9]+)?$/.test(each));
        return [
          how === "over" && running.has(target) ? `${capital(server(target))} is running: stop it first.` : "",
          `Makes ${plural(set.volumes.length, "new volume")} from the snapshots of ${volumes} (taken ${age(set.created)}), and starts ${server(target)} on them, with the image and the choices of then.`,
          names.length ? `The new volumes are called ${list(names)}${timed ? ", with the time of the restore in UTC" : ""}.` : "",
          how === "over"
            ? `From then on ${server(target)} uses the new volumes. Its present volumes stay in the list of volumes, and nothing in them changes.`
            : `${capital(server(set.server))} and all present volumes stay as they are.`,
        ];
      },
      fields: [
        { name: "how", label: "Restore", kind: "select", options, value: options[0][0] },
        { name: "server", label: "Name of the new server", value: fresh, only: ({ how }) => how === "new" },
      ],
      action: "Restore and start",
      run: async ({ how, server: name }) => {
        const over = how === "over";
        const body = { server: over ? set.server : name, over };
        const answer = await api.call("POST", `snapshot-sets/${enc(set.name)}/restore`, body);
        const names = Object.entries(answer.volumes).map(([old, now]) => `${now} from ${old}`);
        done(`${capital(server(answer.server))} is being restored: ${list(names)}.`, { href: answer.url, text: "See it start" });
      },
    });
  }

  function deleteSet(set) {
    ask({
      title: `Delete ${set.name}?`,
      danger: true,
      say: () => [
        `Deletes the snapshot ${set.name} of ${server(set.server)} (taken ${age(set.created)}) with its ${plural(set.size, "snapshot")}: of ${list(set.volumes) || "nothing that is left"}. Nobody can bring them back.`,
        "The server, its volumes, and what was restored from it before stay.",
        ...set.snapshots.map((each) => waitFor("snapshot", each, KEPT)),
      ],
      action: "Delete whole-server snapshot",
      run: async () => {
        await api.call("DELETE", `snapshot-sets/${enc(set.name)}`);
        done(`Whole-server snapshot ${set.name} is being deleted.`);
      },
    });
  }

  function ofSet(set) {
    const unready = going(set) || (set.restorable ? "" : set.state === "taking" ? "It is still being taken." : capital(set.state_text) || "It cannot be restored.");
    return [
      { text: "Restore…", why: noRight() || unready, act: () => restoreSet(set) },
      { text: "Delete…", danger: true, why: noRight() || going(set), act: () => deleteSet(set) },
    ];
  }

  const ofShared = (row) =>
    row.what === "snapshot"
      ? [{ text: "Restore as a volume of your own…", why: noRight() || whyNotRestore(row), act: () => restore(row) }]
      : [startLink(row, true)];

  return { ofVolume, ofSnapshot, ofSet, ofShared, takeSet, whyNotTakeSet };
}
