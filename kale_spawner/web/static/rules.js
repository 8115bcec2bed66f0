"use strict";
// The rules of model/choices.py, limits.py and plan.py in the same words, without the page.
// A volume is { source, name, origin, size, mount, read_only } as in a choice.
const kaleRules = (data) => {
  const ELSEWHERE = "use another folder";
  const MAX_BYTES = 2n ** 63n - 1n;
  const DECIMAL = { m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
  const BINARY = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

  const FILLED = ["snapshot", "clone", "rok"];
  const among = (things, name) => (Object.hasOwn(things, name) ? things[name] : null);
  const claimOf = (name) => among(data.claims, name);
  const within = (path, folder) => path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
  const inside = (path, folder) => path !== folder && within(path, folder);

  function nameError({ source, name, origin }, role) {
    if (["existing", "shared"].includes(source) && !name)
      return `choose which of ${source === "shared" ? "what is shared with you" : "your volumes"}`;
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
      return "use small letters, digits and hyphens, at most 63, beginning and ending with a letter or digit";
    if (source === "shared") return sharedError(name, role);
    const claim = claimOf(name);
    if (claim?.deleting) return `"${name}" is being deleted; wait, or use another`;
    if (claim && FILLED.includes(source) && claim.origin !== `${source} ${origin}`)
      return `you have a volume "${name}" already, and it was not made from "${origin}"; choose another name, or use it (source "existing")`;
    if (claim) return claim.unmade;
    if (source === "existing") return `you have no volume "${name}"; choose one that you have, or a new one (source "new")`;
    const roles = Object.keys(data.keptNames).filter((each) => new RegExp(`^(?:${data.keptNames[each]})$`).test(name));
    if (!roles.length || roles.includes(role)) return "";
    return `this name is kept for a ${roles[0] === "data" ? "data volume" : "workspace"} of yours; choose another`;
  }

  function sharedError(name, role) {
    const shared = among(data.shared, name);
    if (!shared) return `no volume "${name}" is shared with you; choose another`;
    if (shared.deleting) return `"${name}" is being deleted; use another`;
    if (role === "workspace" && !shared.writable)
      return `"${name}" is shared read only, and a workspace has to be written to; choose another, or mount it as data`;
    return "";
  }

  function originError({ source, name, origin }) {
    if (claimOf(name)) return ""; // made by an earlier start: what it was made from may be gone
    if (source === "snapshot") {
      if (!origin) return "choose which snapshot";
      const snapshot = among(data.snapshots, origin);
      return snapshot ? snapshot.unready : `you have no snapshot "${origin}"; choose one of yours`;
    }
    if (source === "clone") {
      if (!origin) return "choose which of your volumes is copied";
      const claim = claimOf(origin);
      if (!claim) return `you have no volume "${origin}"; choose one of yours`;
      if (claim.deleting) return `"${origin}" is being deleted; choose another`;
      if (!claim.bound) return `"${origin}" has never been mounted, so there is nothing to copy; choose another`;
    }
    return source === "rok" && !origin ? "write the address of a snapshot of Rok's" : "";
  }

  // The bytes of a quantity, exactly, or why it is none.
  function parseSize(text) {
    const shown = [...text].slice(0, 40).join("");
    const found = /^\+?([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})([KMGTPE]i|[mkMGTPE]|[eE][+-]?[0-9]{1,2})?$/.exec(text);
    if (!found) return { error: `"${shown}" is not a size; write it like 10Gi or 500Mi` };
    const [whole, fraction = ""] = found[1].split(".");
    const suffix = found[2] ?? "";
    const binary = BINARY.indexOf(suffix) + 1;
    const power = (binary ? 0 : DECIMAL[suffix] ?? Number(suffix.slice(1))) - fraction.length;
    const units = BigInt(whole + fraction) * 1024n ** BigInt(binary) * 10n ** BigInt(Math.max(power, 0));
    const parts = 10n ** BigInt(Math.max(-power, 0));
    if (units % parts) return { error: `"${shown}" is not a whole number of bytes; use a smaller unit, like 300Mi` };
    const bytes = units / parts;
    if (bytes < 1n) return { error: "a volume cannot be empty; write its size like 10Gi" };
    if (bytes > MAX_BYTES) return { error: `"${shown}" is more than any volume can hold` };
    return { bytes };
  }

  function sizeError({ source, name, origin, size }) {
    if (source === "shared" || (source !== "new" && !size)) return "";
    const { bytes, error } = parseSize(size);
    if (error) return error;
    if (source === "none") return limitError(bytes, size);
    const claim = claimOf(name);
    if (source === "existing") return claim ? growthError(claim, bytes, size) : "";
    if (claim && bytes > BigInt(claim.bytes) && claim.wanted <= claim.bytes)
      return `you have a volume "${name}" of ${claim.size} already; use that and make it larger (source "existing"), or choose another name`;
    if (claim) return "";
    const full = source === "snapshot" ? among(data.snapshots, origin) : source === "clone" ? claimOf(origin) : null;
    if (full && bytes < BigInt(full.bytes))
      return `${size} is too small for what is in ${source === "snapshot" ? `snapshot "${origin}"` : `"${origin}"`}; it takes ${full.size} at least`;
    return ["snapshot", "clone"].includes(source) && !full ? "" : limitError(bytes, size);
  }

  function growthError(claim, bytes, size) {
    if (bytes === BigInt(claim.wanted) || bytes === BigInt(claim.bytes)) return "";
    const limit = limitError(bytes, size);
    if (limit) return limit;
    if (bytes < BigInt(claim.bytes))
      return `${size} is less than it has (${claim.size}), and a volume cannot shrink; write a larger one, or leave it as it is`;
    if (!claim.bound) return "it was never mounted, and cannot grow before that; start a server with it first";
    for (const [clone, size] of Object.entries(claim.clones))
      if (bytes > BigInt(size)) return `"${clone}" is to be a clone of it, and would be too small then; start a server with that first, or delete it`;
    return claim.fixed;
  }

  function limitError(bytes, size) {
    const { minSize, maxSize } = data.limits;
    if (bytes < BigInt(minSize.bytes)) return `${size} is too small; the smallest is ${minSize.text}`;
    if (maxSize && bytes > BigInt(maxSize.bytes)) return `${size} is too large; the largest is ${maxSize.text}`;
    return "";
  }

  // Why this is no path at all.
  function pathError(path) {
    if ([...path].length > 1024 || /[\p{C}\p{Zl}\p{Zp}:]|(?! )\p{Zs}/u.test(path))
      return "a path has at most 1024 printable characters and no colon";
    if (!path.startsWith("/")) return "write the whole path, beginning with /, like /home/jovyan/data";
    const parts = path.split("/").slice(1);
    if (path !== "/" && parts.some((part) => ["", ".", ".."].includes(part)))
      return "write the path without //, /./, /../ and without a / at its end";
    if (parts.some((part) => part !== part.trim())) return "a folder's name may not begin or end with a space";
    return "";
  }

  function mountError(path, role, home) {
    const { forbiddenMounts, takenMounts } = data.limits;
    if (!path) return "say where it is mounted, like /home/jovyan/data";
    if (pathError(path)) return pathError(path);
    if (path === "/") return "the root folder cannot be replaced; use a folder like /data";
    for (const folder of forbiddenMounts) {
      if (within(path, folder)) return `${folder} belongs to the system; use a folder like /data`;
      if (inside(folder, path)) return `this would hide ${folder}, which belongs to the system; use one like /data`;
    }
    for (const folder of takenMounts)
      if (within(folder, path)) return `the hub mounts a volume of its own at ${folder}; ${ELSEWHERE}`;
    if (role === "workspace" && inside(home, path)) return `this would hide the home folder ${home}; use it, or one inside`;
    return "";
  }

  const called = (index) => (index ? `data volume ${index}` : "workspace");

  // Between two volumes the later one is told; a read-only one closes its folder to all.
  function between(volumes, index) {
    const found = {};
    const { name } = volumes[index];
    const earlier = volumes.slice(0, index);
    if (name && earlier.some((each) => each.source !== "none" && each.name === name))
      found.name = `"${name}" is there twice; take another volume, or another name`;
    const places = volumes.map((each) => (pathError(each.mount) ? "" : each.mount));
    const place = places[index];
    if (!place) return found;
    const same = places.indexOf(place);
    const closed = volumes.findIndex((each, other) => each.read_only && places[other] && inside(place, places[other]));
    if (same < index) found.mount = `${place} is taken by ${called(same)}; ${ELSEWHERE}`;
    else if (index && places[0] && inside(places[0], place))
      found.mount = `this would hide the workspace at ${places[0]}; ${ELSEWHERE}`;
    else if (index && closed >= 0)
      found.mount = `${called(closed)} at ${places[closed]} is read only: nothing can be mounted inside; ${ELSEWHERE}`;
    return found;
  }

  // For each volume (the workspace first) what is wrong with it alone, and beside the others.
  // home: where this profile's workspace belongs.
  function judge(asked, home) {
    const closed = (each) => each.source === "shared" && !among(data.shared, each.name)?.writable;
    const volumes = asked.map((each) => ({
      ...each,
      mount: each.source === "none" ? home : each.mount,
      read_only: each.read_only || closed(each),
    }));
    return volumes.map((each, index) => {
      const role = index ? "data" : "workspace";
      if (each.source === "none") return { alone: { size: sizeError(each) }, beside: {} };
      const alone = {
        name: nameError(each, role),
        origin: originError(each),
        size: sizeError(each),
        mount: mountError(each.mount, role, home),
      };
      return { alone, beside: between(volumes, index) };
    });
  }

  return { FILLED, claimOf, judge };
};
