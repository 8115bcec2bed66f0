"use strict";
(() => {
  const root = document.getElementById("kale-form");
  const form = root.closest("form");
  const data = JSON.parse(document.getElementById("kale-data-json").textContent);
  const byId = (id) => document.getElementById(id);
  const rows = byId("kale-rows");
  const { FILLED, claimOf, judge } = kaleRules(data);
  const BLANK = { source: "new", name: "", origin: "", size: "", mount: "", storage_class: "", access_mode: "", read_only: false };
  // The control of a volume's part, where it is not named like the part.
  const NAMED = { existing: "claim", shared: "shared" };
  const partOf = (name) => {
    if (name === "claim" || name === "shared") return "name";
    if (FILLED.includes(name)) return "origin";
    return name.replace(/^grow/, "size").replace(/_unit$/, "");
  };

  // ---- volumes as the server sees them -------------------------------------------------

  const boxes = () => [...root.querySelectorAll("fieldset[data-volume]")];
  const dataBoxes = () => [...rows.querySelectorAll("fieldset[data-volume]")];
  const isWorkspace = (box) => box.dataset.volume === "workspace";
  const control = (box, name) => box.querySelector(`[name="${box.dataset.volume}.${name}"]`);
  const value = (box, name) => (control(box, name)?.value ?? "").trim();
  const sourceOf = (box) => box.querySelector(".btn-check:checked")?.value ?? "new";
  const nameOf = (box) => value(box, NAMED[sourceOf(box)] ?? "name");
  const originOf = (box) => (FILLED.includes(sourceOf(box)) ? value(box, sourceOf(box)) : "");

  function sizeText(box) {
    const field = sourceOf(box) === "existing" ? "grow" : "size";
    const number = value(box, field);
    const unit = value(box, `${field}_unit`);
    return unit && /^[0-9]+([.,][0-9]+)?$/.test(number) ? number.replace(",", ".") + unit : number;
  }

  function read(box) {
    const volume = { ...BLANK, source: sourceOf(box), name: nameOf(box), origin: originOf(box), size: sizeText(box) };
    for (const name of ["mount", "storage_class", "access_mode"]) volume[name] = value(box, name);
    volume.read_only = !["new", "none"].includes(volume.source) && (control(box, "read_only")?.checked ?? false);
    return volume;
  }

  function write(box, volume) {
    const [, number, unit] = /^([0-9]+(?:[.,][0-9]+)?)(Mi|Gi|Ti)$/.exec(volume.size) ?? [null, volume.size, "Gi"];
    const existing = volume.source === "existing";
    const { name, mount, storage_class, access_mode } = volume;
    const texts = { name: "", claim: "", shared: "", snapshot: "", clone: "", rok: "", mount, storage_class, access_mode };
    texts[NAMED[volume.source] ?? "name"] = name;
    if (FILLED.includes(volume.source)) texts[volume.source] = volume.origin ?? "";
    Object.assign(texts, { size: existing ? "" : number, size_unit: unit, grow: existing ? number : "", grow_unit: unit });
    for (const name of Object.keys(texts)) {
      const input = control(box, name);
      if (input) input.value = texts[name] ?? "";
      if (input?.tagName === "SELECT" && input.selectedIndex < 0) input.selectedIndex = 0;
    }
    const readOnly = control(box, "read_only");
    if (readOnly) readOnly.checked = Boolean(volume.read_only);
    const radio = box.querySelector(`.btn-check[value="${volume.source}"]`);
    if (radio) radio.checked = true;
  }

  // ---- data volumes: add, remove, propose ----------------------------------------------

  let nextRow = dataBoxes().length;
  let removed = null;

  function addRow(volume) {
    const box = byId("kale-row").content.firstElementChild.cloneNode(true);
    for (const part of [box, ...box.querySelectorAll("*")]) {
      for (const name of ["id", "for", "name", "data-volume", "data-path", "data-error", "data-hint", "aria-describedby"]) {
        const text = part.getAttribute(name);
        if (text?.includes("__row__")) part.setAttribute(name, text.replaceAll("__row__", nextRow));
      }
    }
    nextRow += 1;
    rows.append(box);
    write(box, volume);
    renumber();
    return box;
  }

  function renumber() {
    dataBoxes().forEach((box, index) => {
      box.querySelector(".kale-number").textContent = index + 1;
      const remove = box.querySelector(".kale-remove");
      remove.hidden = box.disabled;
      remove.setAttribute("aria-label", `Remove data volume ${index + 1}`);
      box.querySelector(".btn-group").setAttribute("aria-label", `Source of data volume ${index + 1}`);
    });
    const full = dataBoxes().length >= data.limits.maxDataVolumes;
    byId("kale-undo").hidden = full || !removed || locked("data_volumes");
    byId("kale-undo").textContent = `Put ${(removed && nameOf(removed.box)) || "it"} back`;
    byId("kale-add").hidden = full || locked("data_volumes");
    byId("kale-full").hidden = !full || locked("data_volumes");
    byId("kale-full").textContent = `That is all: at most ${data.limits.maxDataVolumes} data volumes.`;
  }

  function proposal() {
    const taken = new Set([...Object.keys(data.claims), ...boxes().map(nameOf)]);
    let number = 1;
    while (taken.has(`${data.namePrefix}-data-${number}`)) number += 1;
    const name = `${data.namePrefix}-data-${number}`;
    return { ...BLANK, name, size: "5Gi", mount: mountFor(name) };
  }

  function mountFor(name) {
    const before = claimOf(name)?.mount ?? data.shared[name]?.mount;
    if (before && !isMounted(before)) return before;
    const prefix = `${data.namePrefix}-`;
    return `${data.home}/${name.startsWith(prefix) ? name.slice(prefix.length) : name}`;
  }

  const isMounted = (path) => boxes().some((box) => value(box, "mount") === path);

  function followName(box) {
    const mount = control(box, "mount");
    if (isWorkspace(box) || mount.dataset.typed || mount.disabled) return;
    const name = nameOf(box);
    mount.value = "";
    if (name) mount.value = mountFor(name);
  }

  // ---- what the administrator fixed, hid or proposed, by profile ------------------------

  const profileOf = () => form.querySelector('input[name="profile"]:checked')?.value ?? "";
  let profile = profileOf();
  const held = {};
  const rules = (id) => data.profiles[id] ?? { preset: null, fixed: [], hidden: [] };
  const among = (paths, path) => paths.includes(path) || paths.includes(path.split(".")[0]);
  const locked = (path) => among([...rules(profile).fixed, ...rules(profile).hidden], path);
  const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);
  const normal = (volume) => ({ ...BLANK, ...volume, storage_class: "", access_mode: "" });

  function changeProfile() {
    const before = profile;
    profile = profileOf();
    const [old, now] = [rules(before).preset, rules(profile).preset];
    const wasLocked = (path) => among([...rules(before).fixed, ...rules(before).hidden], path);
    if (old && now) {
      const box = root.querySelector('[data-volume="workspace"]');
      const shown = read(box);
      const next = { ...shown };
      for (const name of Object.keys(BLANK)) {
        const path = `workspace.${name}`;
        if (locked(path) && !wasLocked(path)) held[path] = shown[name];
        if (locked(path)) next[name] = now.workspace[name];
        else if (wasLocked(path)) next[name] = held[path] ?? now.workspace[name];
        else if (shown[name] === old.workspace[name]) next[name] = now.workspace[name];
      }
      write(box, next);
      changeRows(old.data_volumes, now.data_volumes, wasLocked("data_volumes"));
    }
    lock();
    refresh();
  }

  function changeRows(old, now, wasLocked) {
    const shown = dataBoxes().map(read);
    if (locked("data_volumes") && !wasLocked) held.data_volumes = shown;
    const untouched = same(shown.map(normal), old.map(normal));
    let next = untouched || locked("data_volumes") ? now : shown;
    if (wasLocked && !locked("data_volumes")) next = held.data_volumes ?? now;
    if (same(next, shown)) return;
    removed = null;
    dataBoxes().forEach((box) => box.remove());
    next.forEach((volume) => addRow(volume));
  }

  function lock() {
    const { fixed, hidden } = rules(profile);
    for (const field of root.querySelectorAll(".kale-field[data-path]")) {
      field.hidden = among(hidden, field.dataset.path);
      for (const input of field.querySelectorAll("input, select")) input.disabled = locked(field.dataset.path);
    }
    for (const box of boxes()) {
      const top = box.dataset.volume.split(".")[0];
      box.disabled = locked(top);
      if (isWorkspace(box)) box.hidden = hidden.includes("workspace");
      for (const radio of box.querySelectorAll(".btn-check")) {
        const noneToChoose = ["existing", "clone"].includes(radio.value) && !radio.checked && !Object.values(data.claims).some((claim) => !claim.deleting);
        radio.disabled = locked(`${box.dataset.volume}.source`) || noneToChoose;
      }
    }
    root.querySelector('input[name="data_volumes"]').disabled = locked("data_volumes");
    byId("kale-data").hidden = hidden.includes("data_volumes");
    byId("kale-volumes").hidden = hidden.includes("workspace") && hidden.includes("data_volumes");
    byId("kale-locked").hidden = fixed.length === 0;
    renumber();
  }

  // ---- showing it ----------------------------------------------------------------------

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const shownError = (path) => root.querySelector(`[data-error="${path}"]`);

  function show(path, message) {
    const slot = shownError(path);
    if (!slot || (!message && slot.dataset.server)) return;
    delete slot.dataset.server;
    slot.textContent = capital(message);
    slot.hidden = !message;
    mark(slot);
  }

  function mark(slot) {
    for (const input of root.querySelectorAll(`[aria-describedby~="${slot.id}"]`)) {
      if (slot.hidden) input.removeAttribute("aria-invalid");
      else input.setAttribute("aria-invalid", "true");
    }
  }

  const slotOf = (input) => byId((input.getAttribute("aria-describedby") ?? "").split(" ").pop());

  const PARTS = { name: ["name", "claim", "shared"], origin: FILLED, size: ["size", "size_unit", "grow", "grow_unit"], mount: ["mount"] };

  function validate(onlyTouched) {
    let wrong = 0;
    const home = rules(profile).preset?.workspace.mount || data.home;
    const found = judge(boxes().map(read), home);
    for (const [index, box] of boxes().entries()) {
      if (box.disabled) continue;
      const { alone, beside } = found[index];
      for (const [name, parts] of Object.entries(PARTS)) {
        const path = `${box.dataset.volume}.${name}`;
        const message = locked(path) ? "" : alone[name] || beside[name] || "";
        if (message) wrong += 1;
        const told = !alone[name] || !onlyTouched || parts.some((each) => control(box, each)?.dataset.touched);
        if (!message || told) show(path, message);
      }
      hint(box);
    }
    const [count, most] = [dataBoxes().length, data.limits.maxDataVolumes];
    const many = count > most && !locked("data_volumes");
    show("data_volumes", many ? `${count} are too many; at most ${most}` : "");
    return wrong + (many ? 1 : 0);
  }

  function hint(box) {
    const slot = box.querySelector('[data-hint$=".name"]');
    const shared = sourceOf(box) === "shared" && data.shared[nameOf(box)];
    const closed = Boolean(shared) && !shared.writable;
    box.classList.toggle("kale-closed", closed);
    const about = closed ? "Shared read only." : shared && "Shared: what a server changes, all see.";
    const known = claimOf(nameOf(box));
    const again = known && !known.deleting && `You have a volume of this name (${known.words}): it will be used, with its files.`;
    const used = known?.used && `${known.used} now.`;
    slot.textContent = (sourceOf(box) === "new" ? again : about || used) || "";
    slot.hidden = !slot.textContent;
    const copied = claimOf(originOf(box));
    const from = box.querySelector('[data-hint$=".origin"]');
    from.textContent = sourceOf(box) === "clone" && copied?.used ? `${copied.used} now: the clone has what is on the disk at that moment.` : "";
    from.hidden = !from.textContent;
  }

  function line() {
    const box = root.querySelector('[data-volume="workspace"]');
    const source = sourceOf(box);
    const claim = claimOf(nameOf(box));
    let first = `Workspace ${sizeText(box).replace(/^([0-9.]+)(Mi|Gi|Ti)$/, "$1 $2B")}, new`;
    const from = { snapshot: "from snapshot", clone: "a clone of", rok: "from" }[source];
    if (from) first = originOf(box) ? `Workspace ${from} ${originOf(box)}` : "Workspace not chosen yet";
    if (source === "none") first = "No workspace: files are lost when the server stops";
    const name = nameOf(box);
    if (source === "shared") first = name ? `Workspace ${name}, shared` : "Workspace not chosen yet";
    if (source === "existing" && !name) first = "Workspace not chosen yet";
    else if (source === "existing" && !claim) first = `Workspace ${name} is not there any more`;
    else if (source === "existing") first = `Workspace ${name}${claim.deleting ? " is being deleted" : `, ${claim.words}`}`;
    const count = dataBoxes().length;
    const second = count === 0 ? "no data volumes" : `${count} data volume${count > 1 ? "s" : ""}`;
    const { hidden } = rules(profile);
    const shown = [];
    if (!hidden.includes("workspace")) shown.push(first);
    if (!hidden.includes("data_volumes")) shown.push(second);
    byId("kale-line").textContent = capital(shown.join(" · "));
  }

  function refresh() {
    validate(true);
    line();
  }

  let speaking = 0;
  function say(text) {
    clearTimeout(speaking);
    speaking = setTimeout(() => { byId("kale-live").textContent = text; }, 400);
  }

  function sayErrorOf(input) {
    const slot = slotOf(input);
    say(slot && !slot.hidden ? slot.textContent : "");
  }

  // ---- events --------------------------------------------------------------------------

  root.addEventListener("input", (event) => {
    const box = event.target.closest("fieldset[data-volume]");
    if (!box) return forgetOption(event.target);
    const name = event.target.name.split(".").pop();
    event.target.dataset.touched = "1";
    forget(box, partOf(name));
    if (["mount", "size"].includes(name)) event.target.dataset.typed = event.target.value ? "1" : "";
    if (FILLED.includes(name)) followOrigin(box);
    if (partOf(name) === "name") followName(box);
    refresh();
    sayErrorOf(event.target);
  });

  // What the server said of a field holds until that field, or its volume's source, changes.
  function forget(box, name) {
    for (const slot of box.querySelectorAll(".kale-error"))
      if (name === "source" || slot.dataset.error.endsWith(`.${name}`) || slot.dataset.error === box.dataset.volume) {
        delete slot.dataset.server;
        show(slot.dataset.error, "");
      }
  }

  function forgetOption(input) {
    const slot = slotOf(input);
    if (!slot?.classList.contains("kale-error")) return;
    slot.hidden = true;
    mark(slot);
  }

  root.addEventListener("change", (event) => {
    if (event.target.name === "profile") changeProfile();
    const box = event.target.closest("fieldset[data-volume]");
    if (box && event.target.classList.contains("btn-check")) {
      if (!isWorkspace(box)) followName(box);
      if (FILLED.includes(sourceOf(box))) followOrigin(box);
      if (sourceOf(box) === "new" && !value(box, "name")) {
        const fresh = isWorkspace(box) ? { ...rules(profile).preset?.workspace } : proposal();
        for (const name of ["name", "size"]) if (!value(box, name)) control(box, name).value = "";
        write(box, { ...read(box), name: freeName(box, fresh.name ?? ""), size: sizeText(box) || fresh.size || "10Gi" });
        followName(box);
      }
      refresh();
    }
  });

  // A volume that is filled is as large as what fills it, stands where that stood, and is a new one.
  function followOrigin(box) {
    const source = sourceOf(box);
    const from = source === "snapshot" ? data.snapshots[originOf(box)] : claimOf(originOf(box));
    const name = control(box, "name");
    if (claimOf(name.value) || !name.value) {
      const fresh = isWorkspace(box) ? rules(profile).preset?.workspace.name ?? "" : proposal().name;
      name.value = freeName(box, fresh);
    }
    const [, number, unit] = /^([0-9.]+)(Mi|Gi|Ti)$/.exec(from?.size ?? "") ?? [];
    if (number && !control(box, "size").dataset.typed) {
      control(box, "size").value = number;
      control(box, "size_unit").value = unit;
    }
    const mount = control(box, "mount");
    if (isWorkspace(box) || mount.dataset.typed || mount.disabled) return;
    mount.value = from?.mount && !isMounted(from.mount) ? from.mount : mountFor(name.value);
  }

  // A name that is not that of a claim already: "new" after "existing" means a new one.
  function freeName(box, name) {
    let free = name;
    for (let number = 2; claimOf(free) || boxes().some((each) => each !== box && nameOf(each) === free); number += 1)
      free = `${name}-${number}`;
    return free;
  }

  rows.addEventListener("click", (event) => {
    const button = event.target.closest(".kale-remove");
    if (!button) return;
    const box = button.closest("fieldset");
    const next = box.nextElementSibling;
    removed = { box, next };
    box.remove();
    renumber();
    refresh();
    // Not on a control: there the Enter that comes once too often removes a second one, or starts.
    (next?.querySelector("legend") ?? byId("kale-add")).focus();
    say(`Removed. A volume that exists keeps its files. ${byId("kale-undo").textContent} is offered below.`);
  });

  byId("kale-undo").addEventListener("click", () => {
    const { box, next } = removed;
    removed = null;
    rows.insertBefore(box, next?.isConnected ? next : null);
    lock();
    refresh();
    box.querySelector("legend").focus();
    say(`Data volume ${dataBoxes().indexOf(box) + 1} is back.`);
  });

  byId("kale-add").addEventListener("click", () => {
    const box = addRow(proposal());
    lock();
    refresh();
    control(box, "name").focus();
    control(box, "name").select();
    say(`Data volume ${dataBoxes().length} added.`);
  });

  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    if (!validate(false)) return;
    event.preventDefault();
    // JupyterHub's own listener would turn the Start button into a spinner for good.
    event.stopImmediatePropagation();
    focusFirst();
  });

  function focusFirst() {
    byId("kale-volumes").open ||= Boolean(byId("kale-volumes").querySelector('[aria-invalid="true"]'));
    const shown = (each) => each.offsetParent !== null && !each.disabled;
    const first = [...root.querySelectorAll('[aria-invalid="true"]')].find(shown);
    first?.focus();
    if (first) sayErrorOf(first);
  }

  for (const slot of root.querySelectorAll(".kale-error:not([hidden])")) slot.dataset.server = "1";
  lock();
  boxes().forEach(hint);
  line();
  if (!byId("kale-errors").hidden) {
    focusFirst();
    if (document.activeElement === document.body) byId("kale-errors").focus();
  }
})();
