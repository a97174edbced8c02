// One tooltip for everything that has `data-tip`, on pointing at it or focusing it; Escape closes it. Plots are walked
// through with the arrow keys.

import { byId } from "./dom.js";

const MARGIN = 8;
let shownFor = null;

export function startTips() {
  document.addEventListener("pointerover", (event) => follow(event.target));
  document.addEventListener("pointerdown", (event) => follow(event.target));
  document.addEventListener("focusin", (event) => follow(event.target));
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", onKey);
  addEventListener("scroll", hide, { passive: true, capture: true });
}

/** Say what the element under the pointer says now. Called after the page has changed. */
export function refreshTip() {
  if (shownFor && !shownFor.isConnected) {
    hide();
  } else if (shownFor && byId("tip").textContent !== shownFor.dataset.tip) {
    show(shownFor);
  }
}

function follow(target) {
  const anchor = target instanceof Element ? target.closest("[data-tip]") : null;
  if (anchor) {
    show(anchor);
  } else {
    hide();
  }
}

function show(anchor) {
  const tip = byId("tip");
  hide();
  shownFor = anchor;
  tip.textContent = anchor.dataset.tip;
  tip.hidden = false;
  anchor.setAttribute("aria-describedby", "tip");
  place(tip, anchor.getBoundingClientRect());
}

/** Above the anchor, or below where there is no room; never beyond the window's sides. */
function place(tip, anchor) {
  const { offsetWidth: width, offsetHeight: height } = tip;
  const widest = document.documentElement.clientWidth - width - MARGIN;
  const left = Math.max(MARGIN, Math.min(anchor.left + anchor.width / 2 - width / 2, widest));
  const above = anchor.top - height - MARGIN;
  tip.style.left = `${left}px`;
  tip.style.top = `${above >= MARGIN ? above : anchor.bottom + MARGIN}px`;
}

function hide() {
  shownFor?.removeAttribute("aria-describedby");
  shownFor?.classList.remove("walked");
  shownFor = null;
  byId("tip").hidden = true;
}

function onKey(event) {
  if (event.key === "Escape") {
    hide();
  }
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const plot = event.target.closest?.("svg.plot");
  if (step && plot) {
    event.preventDefault();
    walk([...plot.querySelectorAll(".hit")], step);
  }
}

function walk(hits, step) {
  if (!hits.length) {
    return;
  }
  const at = hits.indexOf(shownFor);
  const next = at < 0 ? hits.length - 1 : Math.max(0, Math.min(hits.length - 1, at + step));
  show(hits[next]);
  hits[next].classList.add("walked");
}
