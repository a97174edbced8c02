// Questions to this server's API, with the token where it asks for one.

import { tokenAsked, tokenGiven } from "./token.js";

const LONGEST_MS = 35_000; // the server gives up after 30 s

/** No answer: the server is away, or says no. `status` is 0 where it does not answer at all. */
export class NoAnswer extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The answer of `/api/...`. Raises NoAnswer, whose message is the server's own words. */
export async function ask(path) {
  const token = tokenGiven();
  const response = await fetched(path, token ? { Authorization: `Bearer ${token}` } : {});
  if (response.status === 401) {
    tokenAsked(token);
  }
  if (!response.ok) {
    throw new NoAnswer(await reason(response), response.status);
  }
  try {
    return await response.json();
  } catch {
    throw new NoAnswer("its answer broke off", 0);
  }
}

async function fetched(path, headers) {
  try {
    return await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS) });
  } catch (error) {
    const slow = error.name === "TimeoutError";
    throw new NoAnswer(slow ? "it does not answer in time" : "it cannot be reached", 0);
  }
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `HTTP status ${response.status}`;
  }
}
