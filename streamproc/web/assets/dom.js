// Elements are described anew each time; what is on the page is changed only where it differs. So focus, selection and
// scroll positions stay, and whoever reads aloud is told of changes only.

const SVG = new Set(["svg", "g", "rect", "line", "path", "text", "circle", "title", "desc"]);

// Set by whoever looks: a tooltip that is shown, details that are unfolded.
const KEPT = new Set(["aria-describedby", "open"]);

/** An element. Attributes that are null, undefined or false are left out; children may be nested lists. */
export function h(tag, attributes = {}, ...children) {
  const made = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...present(children));
  return made;
}

/** Make `parent` hold these children and no others. Children with `data-key` keep their element when they move. */
export function patch(parent, ...children) {
  const focused = document.activeElement;
  reconcile(parent, present(children));
  if (focused && focused !== document.activeElement && focused.isConnected) {
    focused.focus({ preventScroll: true });
  }
}

export const byId = (id) => document.getElementById(id);

const present = (children) =>
  children
    .flat(Infinity)
    .filter((one) => one || one === 0)
    .map(asNode);
const asNode = (one) => (one instanceof Node ? one : document.createTextNode(String(one)));
const keyOf = (node) => node.dataset?.key;

function reconcile(parent, wanted) {
  const keyed = new Map([...parent.children].filter(keyOf).map((child) => [keyOf(child), child]));
  wanted.forEach((fresh, i) => {
    const here = parent.childNodes[i];
    const kept = keyed.get(keyOf(fresh)) ?? (here && !keyOf(here) && !keyOf(fresh) ? here : undefined);
    if (!kept || kept.nodeName !== fresh.nodeName) {
      parent.insertBefore(fresh, here ?? null);
      return;
    }
    if (kept !== here) {
      parent.insertBefore(kept, here ?? null);
    }
    update(kept, fresh);
  });
  while (parent.childNodes.length > wanted.length) {
    parent.lastChild.remove();
  }
}

function update(kept, fresh) {
  if (kept.nodeType === Node.TEXT_NODE) {
    if (kept.data !== fresh.data) {
      kept.data = fresh.data;
    }
    return;
  }
  for (const { name } of [...kept.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) {
      kept.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (kept.getAttribute(name) !== value) {
      kept.setAttribute(name, value);
    }
  }
  reconcile(kept, [...fresh.childNodes]);
}
