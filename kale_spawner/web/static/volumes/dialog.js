// A question: what will happen, what is needed for it, and Cancel. It stays open, with all that was
// typed, until the hub has said yes; what the hub says of a field stands at that field.
//
// fields: { name, label, kind: "text" | "size" | "select" | "check", value, options?, hint?, only? }
//   only(values): whether it is asked for, with what else was answered.
//   value: of a text, may be a function of what else was answered; it follows that until one types.
// say(values): the sentences above the fields; they follow what is typed, and `refresh()` of what
// is returned, for what was not known yet.

import { sizeParts, units } from "./words.js";
import { el } from "./table.js";

const box = el("dialog", { class: "kv-dialog", "aria-labelledby": "kv-dialog-title", "aria-describedby": "kv-dialog-say" });
document.getElementById("kale-page").append(box);

let after = () => {};
let busy = false;
box.addEventListener("close", () => after());
box.addEventListener("cancel", (event) => busy && event.preventDefault());

export function ask({ title, say, fields = [], action, danger, run, closed }) {
  const controls = new Map(fields.map((field) => [field.name, control(field)]));
  const words = el("div", { id: "kv-dialog-say", class: "kv-say" });
  const trouble = el("div", { class: "alert alert-danger", role: "alert", hidden: true });
  const cancel = el("button", { type: "button", class: "btn btn-outline-secondary", onclick: () => busy || box.close() }, "Cancel");
  const go = el("button", { type: "submit", class: `btn ${danger ? "btn-danger" : "btn-primary"}` }, action);
  const form = el(
    "form",
    { novalidate: true, onsubmit: submit, oninput: refresh, onchange: refresh },
    el("h2", { id: "kv-dialog-title" }, title),
    words,
    [...controls.values()].map((each) => each.root),
    trouble,
    el("div", { class: "kv-buttons" }, cancel, go),
  );

  const values = () => Object.fromEntries([...controls].map(([name, each]) => [name, each.read()]));

  let said = "";
  function refresh(event) {
    for (const { name, value } of fields) {
      const each = controls.get(name);
      if (event && each.root.contains(event.target)) {
        each.tell("");
        each.typed = true;
      }
      if (typeof value === "function" && !each.typed) each.write(value(values()));
    }
    const given = values();
    for (const { name, only } of fields) controls.get(name).root.hidden = only?.(given) === false;
    const lines = say(given).filter(Boolean);
    if (said === lines.join("\n")) return;
    said = lines.join("\n");
    words.replaceChildren(...lines.map((line) => el("p", {}, line)));
  }

  function tell(text, more = null) {
    trouble.hidden = !text;
    trouble.replaceChildren(...(text ? [text, more].filter(Boolean) : []));
  }

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    busy = true;
    tell("");
    for (const each of controls.values()) each.tell("");
    go.setAttribute("aria-disabled", "true");
    go.textContent = "One moment…";
    try {
      await run(values());
      busy = false;
      box.close();
    } catch (error) {
      if (!error.kind) throw error;
      report(error);
    } finally {
      busy = false;
      go.removeAttribute("aria-disabled");
      go.textContent = action;
    }
  }

  function report(error) {
    const known = error.errors.filter((each) => controls.has(each.field) && !controls.get(each.field).root.hidden);
    const rest = error.errors.filter((each) => !known.includes(each)).map((each) => each.message);
    for (const each of known) controls.get(each.field).tell(each.message);
    if (known.length) {
      controls.get(known[0].field).focus();
      tell(rest.join("; "));
      if (!rest.length) return;
    }
    if (error.kind === "net")
      tell(
        "The hub does not answer. Whether it was done is not known: the lists tell, once it answers. " +
          "What you chose is still here; to try again, press the button again.",
      );
    else if (error.kind === "login")
      tell(
        "You are not logged in any more. ",
        el("a", { href: window.location.pathname, target: "_blank", class: "alert-link" }, "Log in in another tab, then press the button again."),
      );
    else if (!known.length) tell(rest.join("; ") || error.message);
    if (!known.length) go.focus();
  }

  after = () => {
    after = () => {};
    closed?.();
  };
  box.replaceChildren(form);
  refresh();
  box.showModal();
  const first = [...controls.values()].find((each) => !each.root.hidden && each.kind !== "check");
  // Nothing is deleted by an Enter too many.
  (danger ? cancel : (first ?? go)).focus();
  return { refresh: () => refresh() };
}

let number = 0;

function control({ name, label, kind = "text", value = "", options = [], hint = "" }) {
  const id = `kv-field-${(number += 1)}`;
  const error = el("div", { class: "kale-error", id: `${id}-error`, hidden: true });
  const about = hint ? el("div", { class: "form-text", id: `${id}-hint` }, hint) : null;
  const described = { "aria-describedby": `${hint ? `${id}-hint ` : ""}${id}-error`, id, name };
  const plain = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
  let input;
  let read = () => input.value.trim();
  let shown;
  if (kind === "select") {
    input = el("select", { class: "form-select", ...described }, options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
    shown = input;
    read = () => input.value;
  } else if (kind === "check") {
    input = el("input", { type: "checkbox", class: "form-check-input", ...described, checked: value });
    shown = input;
    read = () => input.checked;
  } else if (kind === "size") {
    const [count, unit] = sizeParts(value);
    input = el("input", { class: "form-control", inputmode: "decimal", value: count, ...plain, ...described });
    const units = ["Mi", "Gi", "Ti"].map((each) => el("option", { value: each, selected: each === unit }, `${each}B`));
    const choose = el("select", { class: "form-select kv-unit", "aria-label": "Unit of size" }, units);
    shown = el("div", { class: "input-group" }, input, choose);
    read = () => {
      const text = input.value.trim().replace(",", ".");
      return /^[0-9]+(\.[0-9]+)?$/.test(text) ? text + choose.value : text;
    };
  } else {
    input = el("input", { class: "form-control", value: typeof value === "function" ? "" : value, ...plain, ...described });
    shown = input;
  }
  const labelled = el("label", { class: kind === "check" ? "form-check-label" : "form-label", for: id }, label);
  const root =
    kind === "check"
      ? el("div", { class: "form-check kv-field" }, shown, labelled, about, error)
      : el("div", { class: "kv-field" }, labelled, shown, about, error);
  return {
    root,
    kind,
    read,
    write: (text) => input.value === text || (input.value = text),
    focus: () => (input.focus(), input.select?.()),
    tell(text) {
      error.hidden = !text;
      error.textContent = units(text.charAt(0).toUpperCase() + text.slice(1));
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}
