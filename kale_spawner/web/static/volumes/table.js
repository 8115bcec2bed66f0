// One list: a table of keyed rows that sorts, filters, and keeps its rows' buttons through a refresh.
//
// column: { id, head, cell(row) -> Node | string, sort(row) -> string | number, className? }
// Only rows whose data changed are filled anew, and only rows out of place are moved: with 1,000
// rows a change of one costs one row.

export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

const compare = new Intl.Collator(undefined, { numeric: true }).compare;

function order(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return compare(String(one), String(other));
}

export function makeTable({ id, columns, caption, keyOf, textOf, actions, sorted, onsort }) {
  const rows = new Map(); // key -> { tr, data, json, text, shown }
  let sort = sorted;
  let needle = "";

  // Roles are said although they are a table's own: on a phone the rows are laid out as blocks,
  // and browsers take that for "no table".
  const head = el("tr", { role: "row" });
  const body = el("tbody", { role: "rowgroup" });
  const choose = el(
    "select",
    { class: "form-select form-select-sm", id: `${id}-order`, onchange: (event) => sortBy(...event.target.value.split(" ")) },
    columns
      .filter((each) => each.sort)
      .flatMap((each) => [
        el("option", { value: `${each.id} up` }, `${each.head}, ascending`),
        el("option", { value: `${each.id} down` }, `${each.head}, descending`),
      ]),
  );
  const heads = columns.map((column) => {
    const button =
      column.sort &&
      el("button", { type: "button", class: "kv-sort", onclick: () => flip(column.id) }, column.head);
    return el("th", { scope: "col", role: "columnheader", class: column.className }, button || column.head);
  });
  head.append(...heads, el("th", { scope: "col", role: "columnheader", class: "kv-act" }, el("span", { class: "visually-hidden" }, "Actions")));
  const table = el(
    "table",
    { class: "table kv-table", role: "table", id },
    el("caption", { class: "visually-hidden" }, caption),
    el("thead", { role: "rowgroup" }, head),
    body,
  );
  const none = el("p", { class: "kv-quiet kv-nothing", hidden: true });
  const root = el("div", {}, el("div", { class: "kv-order" }, el("label", { for: choose.id }, "Sort by"), choose), table, none);

  function flip(column) {
    sortBy(column, sort[0] === column && sort[1] === "up" ? "down" : "up");
  }

  function sortBy(column, way) {
    sort = [column, way];
    onsort?.(sort);
    place();
  }

  function fill(entry) {
    const { tr, data } = entry;
    columns.forEach((column, index) => {
      const cell = tr.children[index];
      const content = column.cell(data);
      cell.replaceChildren(...[content].flat().filter((each) => each !== null && each !== ""));
      cell.classList.toggle("kv-empty", !cell.hasChildNodes());
    });
    entry.text = textOf(data).toLowerCase();
  }

  function make(key) {
    const tr = el("tr", { role: "row" });
    columns.forEach((column, index) =>
      tr.append(
        index
          ? el("td", { role: "cell", class: column.className, "data-head": column.head })
          : el("th", { scope: "row", role: "rowheader", class: column.className }),
      ),
    );
    const button = el(
      "button",
      { type: "button", class: "btn btn-sm btn-outline-secondary kv-more", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": `Actions for ${key.name}` },
      "Actions",
    );
    const entry = { tr, button, data: null, json: "", text: "" };
    button.addEventListener("click", () => actions(entry.data, button));
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      actions(entry.data, button, event.key === "ArrowUp");
    });
    tr.append(el("td", { role: "cell", class: "kv-act" }, button));
    return entry;
  }

  // The rows in order: moved only where they stand wrong, since moving takes the focus away.
  function place() {
    const column = columns.find((each) => each.id === sort[0]) ?? columns[0];
    const sign = sort[1] === "down" ? -1 : 1;
    const keyed = [...rows.values()].map((entry) => [column.sort(entry.data), entry]);
    keyed.sort((a, b) => {
      // What has nothing there comes last, whichever way.
      const [one, other] = [a[0] === "" || a[0] === null, b[0] === "" || b[0] === null];
      if (one !== other) return one ? 1 : -1;
      return sign * order(a[0], b[0]) || compare(a[1].data.name, b[1].data.name);
    });
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    if (body.childElementCount === 0) body.append(...keyed.map(([, entry]) => entry.tr));
    else {
      let at = body.firstElementChild;
      for (const [, entry] of keyed) {
        if (entry.tr === at) at = at.nextElementSibling;
        else body.insertBefore(entry.tr, at);
      }
    }
    if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
    heads.forEach((each, index) => {
      const mine = columns[index].id === column.id;
      if (mine) each.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      else each.removeAttribute("aria-sort");
    });
    choose.value = `${column.id} ${sign < 0 ? "down" : "up"}`;
  }

  function sift() {
    let shown = 0;
    for (const entry of rows.values()) {
      const fits = !needle || entry.text.includes(needle);
      if (entry.tr.hidden === fits) entry.tr.hidden = !fits;
      if (fits) shown += 1;
    }
    const searching = Boolean(needle) && rows.size > 0;
    none.hidden = !(searching && !shown);
    none.textContent = none.hidden ? "" : "Nothing here has that in it.";
    table.hidden = !shown;
    choose.parentElement.hidden = !shown;
    return shown;
  }

  // Show these rows. Returns where the focus was if its row is gone: { index }.
  function show(list) {
    const keys = new Set(list.map(keyOf));
    const focused = document.activeElement;
    let lost = null;
    for (const [key, entry] of rows)
      if (!keys.has(key)) {
        if (entry.tr.contains(focused)) lost = [...body.children].indexOf(entry.tr);
        entry.tr.remove();
        rows.delete(key);
      }
    for (const data of list) {
      const key = keyOf(data);
      const entry = rows.get(key) ?? make(data);
      const json = JSON.stringify(data);
      if (json === entry.json) continue;
      Object.assign(entry, { data, json });
      fill(entry);
      rows.set(key, entry);
    }
    place();
    const shown = sift();
    if (lost !== null) focusAt(lost);
    return shown;
  }

  function focusAt(index) {
    const open = [...body.children].filter((each) => !each.hidden);
    const near = open[Math.min(index, open.length - 1)];
    (near?.querySelector(".kv-more") ?? root.closest("[role=tabpanel]"))?.focus();
  }

  return {
    root,
    show,
    search: (text) => ((needle = text), sift()),
    // Ages grow by themselves.
    refresh: (index) => {
      for (const entry of rows.values())
        entry.tr.children[index].replaceChildren(...[columns[index].cell(entry.data)].flat());
    },
    indexOf: (button) => [...body.children].filter((each) => !each.hidden).findIndex((each) => each.contains(button)),
    focusAt,
    size: () => rows.size,
  };
}
