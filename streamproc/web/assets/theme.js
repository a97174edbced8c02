// Light or dark, before anything is drawn: as the system has it, or as was chosen here and is remembered.
// A classic script, not a module, so that the page is never seen in the wrong one.
"use strict";

(() => {
  const KEY = "streamproc-theme";
  const CHOICES = ["auto", "light", "dark"];
  const SIGNS = { auto: "◐", light: "○", dark: "●" };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return CHOICES.includes(kept) ? kept : "auto";
    } catch {
      return "auto"; // a browser that keeps nothing for this page
    }
  }

  let choice = chosen();

  function apply() {
    const theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      const next = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      button.textContent = `${SIGNS[choice]} ${choice}`;
      button.setAttribute("aria-label", `Theme: ${choice}. Change to ${next}`);
    }
  }

  function change() {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // It holds until the page is left.
    }
    apply();
  }

  apply();
  dark.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", change);
  });
})();
