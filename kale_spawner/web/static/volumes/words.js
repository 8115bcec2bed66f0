// Sizes, ages and servers in the words of the page, and the text of a row that a search looks at.

const UNITS = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20]];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  for (const [unit, factor] of UNITS)
    if (bytes >= factor) return `${(bytes / factor).toFixed(bytes / factor < 100 ? 1 : 0).replace(/\.0$/, "")} ${unit}`;
  return `${bytes} bytes`;
}

// What two fields of a form show for so many bytes, rounded up to whole units.
export function sizeParts(bytes) {
  const [unit, factor] = UNITS.find(([, each]) => bytes >= each) ?? UNITS[2];
  return [String(Math.max(1, Math.ceil(bytes / factor))), unit.slice(0, 2)];
}

const AGES = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];

export function age(moment, now = Date.now()) {
  if (!moment) return "";
  const seconds = (now - Date.parse(moment)) / 1000;
  for (const [word, length] of AGES) {
    const count = Math.floor(seconds / length);
    if (seconds >= 120 && count >= 1) return `${count} ${word}${count > 1 ? "s" : ""} ago`;
  }
  return "just now";
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
export const moment = (text) => (text ? DAY.format(new Date(text)) : "");

export const server = (name) => (name ? `server ${name}` : "the default server");
// With a capital, unless it begins with somebody's name for something.
export const capital = (text) => (/^[a-z]+[ ,.:…]|^[a-z]+$/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// A name that is none of `taken` and that Kubernetes takes: `stem`, else `stem-2`, `stem-3`, ...
export function freeName(stem, taken) {
  for (let number = 1; ; number += 1) {
    const tail = number === 1 ? "" : `-${number}`;
    const name = `${stem.slice(0, 63 - tail.length).replace(/-+$/, "")}${tail}`;
    if (!taken.has(name)) return name;
  }
}

export function stamp(date = new Date()) {
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}-${two(date.getHours())}${two(date.getMinutes())}`;
}

const REASONS = { stop: "at a stop", image: "before an image change", delete: "before a deletion" };
export const reason = (word) => REASONS[word] ?? "";

const URGENT = new Set(["lost", "failed", "growth_failed", "incomplete"]);
const BUSY = new Set(["preparing", "growing", "deleting", "taking"]);
export const tone = (state) => (URGENT.has(state) ? "danger" : BUSY.has(state) ? "busy" : state === "new" ? "new" : "ready");
const STATES = {
  ready: "ready",
  new: "new: made at its first use",
  preparing: "being made",
  growing: "growing",
  growth_failed: "could not grow",
  deleting: "being deleted",
  lost: "lost",
  taking: "being taken",
  failed: "failed",
  incomplete: "incomplete",
};
export const state = (row) => units(row.state_text || STATES[row.state] || row.state);

// "2Gi" as the page has it: "2 GiB".
export const units = (text) => text.replace(/([0-9])([KMGT]i)\b/g, "$1 $2B");
