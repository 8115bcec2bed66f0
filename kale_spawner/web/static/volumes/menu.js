// The menu of a row, made when it is opened (1,000 rows have one menu), after WAI-ARIA's "menu
// button": arrows, Home, End, a letter; Escape and Tab leave it. What cannot be done now stays in
// it, can be reached, and says why.
//
// No class of Bootstrap's dropdowns: its script would take the keys for one of its own.
//
// item: { text, why: "" or why not, danger, href or act() }

import { el } from "./table.js";

let open = null;

export function openMenu(button, title, items, last = false) {
  const again = open?.button === button;
  closeMenu();
  if (again) return;
  const entries = items.map((item) => {
    const off = Boolean(item.why);
    const inside = [
      el("span", {}, item.text),
      off ? el("span", { class: "kv-why" }, item.why) : null,
    ];
    const shared = {
      role: "menuitem",
      tabindex: "-1",
      class: `kv-item${item.danger ? " kv-danger" : ""}`,
      "aria-disabled": off ? "true" : null,
    };
    if (item.href && !off) return el("a", { ...shared, href: item.href }, inside);
    return el("button", { ...shared, type: "button", onclick: () => off || (closeMenu(), item.act()) }, inside);
  });
  const menu = el("div", { role: "menu", class: "kv-menu", "aria-label": title, onkeydown: key }, entries);
  document.getElementById("kale-page").append(menu);
  const at = button.getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  const below = at.bottom + menu.offsetHeight + 8 < window.innerHeight || at.top < menu.offsetHeight;
  menu.style.left = `${Math.max(8, Math.min(at.right - menu.offsetWidth, width - menu.offsetWidth - 8)) + window.scrollX}px`;
  menu.style.top = `${(below ? at.bottom + 2 : at.top - menu.offsetHeight - 2) + window.scrollY}px`;
  button.setAttribute("aria-expanded", "true");
  open = { menu, button, entries };
  entries.at(last ? -1 : 0).focus();
}

export function closeMenu(refocus = true) {
  if (!open) return;
  const { menu, button } = open;
  const had = menu.contains(document.activeElement);
  open = null;
  button.setAttribute("aria-expanded", "false");
  if (had && refocus && button.isConnected) button.focus();
  menu.remove();
}

function key(event) {
  const { entries } = open;
  const at = entries.indexOf(document.activeElement);
  const to = {
    ArrowDown: (at + 1) % entries.length,
    ArrowUp: (at - 1 + entries.length) % entries.length,
    Home: 0,
    End: entries.length - 1,
  }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    entries[to].focus();
  } else if (event.key === "Escape") {
    event.preventDefault();
    closeMenu();
  } else if (event.key === "Tab") closeMenu();
  else if (event.key.length === 1 && event.key !== " ") {
    const round = [...entries.slice(at + 1), ...entries.slice(0, at + 1)];
    round.find((each) => each.textContent.toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
  }
}

document.addEventListener("pointerdown", (event) => {
  if (open && !open.menu.contains(event.target) && !open.button.contains(event.target)) closeMenu(false);
});
window.addEventListener("resize", () => closeMenu());
