// The state of the hub, held open: an answer comes when something changed (a long poll).

const WAIT = 25;
const LONGEST = 30000;
const LEAST = 500; // between two answers, so that a hub that does not wait is not run over

const pause = (time, ...wakes) =>
  new Promise((done) => {
    const timer = setTimeout(done, time);
    for (const wake of wakes) wake(() => (clearTimeout(timer), done()));
  });

// show(state) for each new state; tell(trouble, seconds) while there is none, tell(null) after.
export function keepLive(api, version, show, tell) {
  let seen = version;
  let wake = () => {};
  let poll = null;
  let asked = false; // something was done here: ask at once, without waiting

  async function ask() {
    const now = asked || !seen;
    asked = false;
    poll = new AbortController();
    const late = setTimeout(() => poll.abort(), (WAIT + 15) * 1000);
    try {
      const query = now ? "" : `?wait=${WAIT}&seen=${encodeURIComponent(seen)}`;
      return await api.call("GET", `storage${query}`, undefined, poll.signal);
    } finally {
      clearTimeout(late);
    }
  }

  async function run() {
    for (let failures = 0; ; ) {
      // A page that nobody looks at asks nothing.
      if (document.hidden) await new Promise((done) => (wake = done));
      const began = performance.now();
      try {
        const state = await ask();
        failures = 0;
        tell(null);
        if (state.version !== seen) {
          seen = state.version;
          show(state);
        }
        const left = LEAST - (performance.now() - began);
        if (left > 0 && !asked) await pause(left, (done) => (wake = done));
      } catch (trouble) {
        if (!trouble.kind) throw trouble;
        if (asked) continue; // it was we who ended the poll
        const time = Math.min(1000 * 2 ** failures, LONGEST);
        failures += 1;
        tell(trouble, time / 1000);
        await pause(time, (done) => (wake = done));
      }
    }
  }

  function now() {
    asked = true;
    poll?.abort();
    wake();
  }
  document.addEventListener("visibilitychange", () => !document.hidden && wake());
  window.addEventListener("online", now);
  run();
  return { now };
}
