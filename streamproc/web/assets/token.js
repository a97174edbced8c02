// The API's token: asked for where the server wants one, kept in this tab until it is closed, sent as a header only.

import { byId } from "./dom.js";

const KEY = "streamproc-token";
const waiting = [];
let given = sessionStorage.getItem(KEY) ?? "";

export const tokenGiven = () => given;

/** The server has refused `refused` ("" if none was sent). Ask, unless another one has been given meanwhile. */
export function tokenAsked(refused) {
  const dialog = byId("token-dialog");
  if (refused !== given || dialog.open) {
    return;
  }
  sessionStorage.removeItem(KEY);
  given = "";
  byId("token-trouble").textContent = refused
    ? "The server does not accept that token. Compare it with the server's STREAMPROC_API_TOKEN."
    : "";
  byId("token-field").value = "";
  dialog.showModal();
}

/** Whether the page waits for somebody to enter a token. */
export const tokenWanted = () => byId("token-dialog").open;

/** Call `act` whenever a token has been given. */
export const onToken = (act) => waiting.push(act);

export function startToken() {
  const dialog = byId("token-dialog");
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    given = byId("token-field").value.trim();
    sessionStorage.setItem(KEY, given);
    dialog.close();
    waiting.forEach((act) => act());
  });
  // There is nothing behind it to see without a token.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
}
