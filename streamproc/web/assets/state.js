// What the page knows, and how old it is.

/** The one state. Sections read it; only main.js and channel.js write it. */
export const state = {
  overview: null, // the newest answer
  known: null, // the newest answer for which Redis had been read
  heardMs: 0, // when it came, by this browser's clock that never jumps
  lookedMs: 0, // when the server's own look at the system last was a new one
  away: null, // why there is no newer one: { message, retryS, status }
  hours: null, // the newest answer of /api/hours
  hoursOld: false, // whether there should be a newer one
  hoursTrouble: "",
  channels: null, // names of the last 24 hours
  channel: null, // the page of one channel: { id, hourly, trends, segments, trouble }
};

const STUCK_MS = 30_000;

/** Keep an overview that has just come. */
export function take(overview) {
  const now = performance.now();
  if (overview.at !== state.overview?.at) {
    state.lookedMs = now;
  }
  state.overview = overview;
  state.heardMs = now;
  state.away = null;
  if (readRedis(overview)) {
    state.known = overview;
  }
}

/** Whether the figures from Redis are of now: neither the server is away, nor Redis, nor do its settings differ. */
export const isFresh = () => Boolean(state.overview) && !isAway() && state.known === state.overview;

/** Whether nothing new is heard: the web server is away, or its own look at the system is stuck. */
export const isAway = () => Boolean(state.away) || isStuck();
export const isStuck = () => Boolean(state.overview) && performance.now() - state.lookedMs > STUCK_MS;

/** The server's time, in ms since 1970: what ages are told by. */
export const nowMs = () => {
  const overview = state.overview;
  return overview ? Date.parse(overview.at) + (performance.now() - state.lookedMs) : Date.now();
};

/** How many seconds ago that was looked at what is shown. */
export const ageS = () => (state.known ? Math.max(0, (nowMs() - Date.parse(state.known.at)) / 1000) : null);

/** Why there are no figures at all; null where there are some. */
export function unknown() {
  if (state.known) {
    return null;
  }
  if (state.overview) {
    return "Not known: Redis could not be read since this page was opened.";
  }
  return state.away ? "Not known yet." : "Asking.";
}

const readRedis = (overview) => overview.redis.up && !overview.troubles.some((one) => one.what === "layout");
