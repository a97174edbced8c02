// For whoever sees an empty system: what to do first.

import { h } from "./dom.js";
import { length } from "./format.js";
import { isEmpty } from "./verdict.js";
import { state } from "./state.js";

/** The first steps; null once there is anything. */
export function firstSteps() {
  if (!isEmpty()) {
    return null;
  }
  const { prefix, window_seconds: windowS } = state.known.settings;
  const workers = state.known.workers.length;
  return [
    h("h2", {}, "No segments yet"),
    h(
      "ol",
      { class: "steps" },
      workers ? null : h("li", {}, "Start a worker: ", h("code", {}, "streamproc worker")),
      h(
        "li",
        {},
        "Publish simulated segments for a minute: ",
        h("code", {}, "streamproc publish --rate 13 --seconds 60"),
      ),
      h("li", {}, "Or publish your own, from a dubbing worker: see docs/publishing.md"),
    ),
    h(
      "p",
      { class: "note" },
      `All with the settings of this server (prefix ${prefix}). Live figures move within two seconds; `,
      `the first window (${length(windowS)}) is stored when it has ended.`,
    ),
  ];
}
