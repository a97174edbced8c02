// Where it starts: what is asked when, which page is shown, and when it is drawn.

import { ask } from "./api.js";
import { channelNow, channelsNow, linkTo } from "./channels.js";
import { drawChannel, watchChannel } from "./channel.js";
import { byId, h, patch } from "./dom.js";
import { firstSteps } from "./first.js";
import { errorPlot, throughputPlot } from "./flow.js";
import { counted, length } from "./format.js";
import { lastHours, missingWords } from "./hours.js";
import { ledger } from "./ledger.js";
import { Poll } from "./poll.js";
import { drawSegments, watchSegments } from "./segments.js";
import { isFresh, nowMs, state, take } from "./state.js";
import { tiles } from "./tiles.js";
import { refreshTip, startTips } from "./tip.js";
import { onToken, startToken, tokenWanted } from "./token.js";
import { awayBanner, facts, freshness, said, SIGNS, staleness, troubles, verdict } from "./verdict.js";
import { windowsNow } from "./windows.js";
import { deadLetters, shards, workers } from "./workers.js";

const HOURS_SHOWN = 12;
/** What comes from Redis: grey while it is not of now. */
const FROM_REDIS = [
  "tiles",
  "throughput",
  "errors",
  "windows",
  "channels",
  "ledger",
  "workers",
  "letters",
  "shards",
  "channel-now",
];

let ofChannel = [];

const overviews = new Poll(
  2,
  async (current) => {
    const answer = await ask("/api/overview");
    if (current()) {
      take(answer);
      draw();
    }
  },
  (error, retryS) => {
    state.away = { message: error.message, retryS, status: error.status };
    draw();
  },
);

const hours = new Poll(
  5,
  async () => {
    const answer = await ask(`/api/hours?limit=${HOURS_SHOWN}`);
    // Without Redis the hours are as they are stored, without MongoDB they are too few.
    state.hoursOld = Boolean(state.hours) && answer.missing.some((one) => one.layer === "mongodb");
    state.hours = state.hoursOld ? state.hours : answer;
    state.hoursTrouble = missingWords(answer);
    draw();
  },
  (error) => {
    state.hoursOld = Boolean(state.hours);
    state.hoursTrouble = `No answer: ${error.message}.`;
    draw();
  },
);

const names = new Poll(30, async () => {
  state.channels = (await ask("/api/channels")).channels;
  patch(
    byId("find-channels"),
    state.channels.map((id) => h("option", { value: id })),
  );
});

function draw() {
  document.title = `${SIGNS[verdict()]} ${verdict()} · streamproc`;
  byId("verdict").dataset.verdict = verdict();
  patch(byId("freshness"), freshness());
  patch(byId("away"), tokenWanted() ? null : awayBanner());
  patch(byId("said"), said());
  patch(byId("facts"), facts(), old());
  patch(byId("troubles"), troubles());
  patch(byId("foot"), foot());
  FROM_REDIS.forEach((id) => byId(id).classList.toggle("stale", Boolean(state.known) && !isFresh()));
  if (state.channel) {
    drawChannelPage();
  } else {
    drawOverviewPage();
  }
  refreshTip();
}

function old() {
  const words = staleness();
  return words ? h("p", { class: "age" }, words) : null;
}

function drawOverviewPage() {
  fill("first-steps", firstSteps());
  patch(byId("tiles"), tiles());
  const { throughput = [] } = state.known ?? {};
  patch(byId("throughput"), throughputPlot(byId("throughput"), throughput, plotMs()));
  patch(byId("errors"), errorPlot(byId("errors"), throughput, plotMs()));
  patch(byId("windows"), windowsNow());
  patch(byId("channels"), channelsNow());
  patch(
    byId("head-hours"),
    (state.overview?.settings.window_seconds ?? 3600) === 3600 ? "Last stored hours" : "Last stored windows",
  );
  patch(byId("hours"), lastHours());
  patch(byId("ledger"), ledger());
  patch(byId("workers"), workers());
  patch(byId("letters"), deadLetters());
  const table = shards();
  byId("shards-section").hidden = !table;
  patch(byId("shards"), table);
}

/** The right end of the ten minutes: the newest look, so that a plot does not shiver between two. */
const plotMs = () => (isFresh() ? Date.parse(state.known.at) : nowMs());

function drawChannelPage() {
  patch(byId("channel-now"), channelNow(state.channel.id));
  drawChannel();
  drawSegments();
}

function fill(id, content) {
  byId(id).hidden = !content;
  patch(byId(id), content);
}

function foot() {
  const { overview } = state;
  if (!overview) {
    return null;
  }
  const { prefix, shards: number, window_seconds: windowS, grace_seconds: graceS } = overview.settings;
  return [
    `streamproc ${overview.version} · prefix ${prefix} · ${counted(number, "shard")} · `,
    `windows of ${length(windowS)}, grace ${length(graceS)} · times in UTC · `,
    state.channels ? `${counted(state.channels.length, "channel")} in 24 h · ` : null,
    h("a", { href: "/api/openapi.json" }, "API"),
  ];
}

/** Show the page that the address names. */
function route() {
  const [, encoded] = location.hash.match(/^#\/channel\/(.+)$/) ?? [];
  const id = encoded ? decoded(encoded) : null;
  ofChannel.forEach((poll) => poll.stop());
  state.channel = id === null ? null : { id, hourly: null, trends: null, segments: null, troubles: {} };
  byId("overview-page").hidden = id !== null;
  byId("channel-page").hidden = id === null;
  if (id !== null) {
    patch(byId("head-channel"), "Channel ", h("bdi", {}, id));
    ofChannel = [...watchChannel(id, draw), watchSegments(id, draw)];
    ofChannel.forEach((poll) => poll.start());
  } else {
    ofChannel = [];
  }
  scrollTo(0, 0);
  draw();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function start() {
  startTips();
  startToken();
  onToken(() => [overviews, hours, names, ...ofChannel].forEach((poll) => poll.now()));
  addEventListener("hashchange", () => location.hash === "#main" || route()); // but for the link that skips the header
  addEventListener("resize", draw);
  setInterval(() => document.hidden || draw(), 1000);
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("find-channel").value.trim();
    if (id) {
      location.hash = linkTo(id);
      byId("find").reset();
    }
  });
  byId("segments-form").addEventListener("change", () => {
    ofChannel.at(-1)?.now();
    draw();
  });
  byId("segments-form").addEventListener("submit", (event) => event.preventDefault());
  route();
  [overviews, hours, names].forEach((poll) => poll.start());
}

start();
