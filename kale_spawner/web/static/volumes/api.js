// The hub's REST API, as JupyterHub's own pages call it: cookie and XSRF token.

export class Trouble extends Error {
  // kind: "net" (nobody knows whether it was done), "login", "refused".
  constructor(kind, message, errors = [], status = 0) {
    super(message);
    Object.assign(this, { kind, errors, status });
  }
}

// The cookie has what is right after a log-in in another tab.
const inCookies = () =>
  document.cookie
    .split("; ")
    .filter((each) => each.startsWith("_xsrf="))
    .map((each) => each.slice(6).replace(/^"|"$/g, ""));

export function makeApi(base, user, xsrf) {
  const stem = `${base}api/users/${encodeURIComponent(user)}/`;
  let token = xsrf;

  async function once(method, path, body, signal) {
    const headers = { Accept: "application/json", "X-XSRFToken": token };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer, text;
    try {
      answer = await fetch(stem + path, {
        method,
        headers,
        signal,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        redirect: "error",
      });
      text = await answer.text();
    } catch (error) {
      throw new Trouble("net", "The hub does not answer.");
    }
    let said = null;
    try {
      said = text ? JSON.parse(text) : {};
    } catch {
      // A proxy's page in place of the hub's answer.
    }
    if (answer.ok && said) return said;
    if (answer.ok || answer.status === 502 || answer.status === 504)
      throw new Trouble("net", "The hub does not answer.", [], answer.status);
    const message = said?.message || `The hub answered ${answer.status} ${answer.statusText}.`;
    if (answer.status === 401 || (answer.status === 403 && /credentials|xsrf/i.test(message)))
      throw new Trouble("login", message, [], answer.status);
    throw new Trouble("refused", message, said?.errors ?? [], answer.status);
  }

  async function call(method, path, body, signal) {
    const tried = new Set();
    for (;;) {
      try {
        return await once(method, path, body, signal);
      } catch (trouble) {
        tried.add(token);
        const fresh = inCookies().find((each) => !tried.has(each));
        if (trouble.kind !== "login" || !fresh) throw trouble;
        token = fresh;
      }
    }
  }

  return { call };
}

export const enc = encodeURIComponent;
