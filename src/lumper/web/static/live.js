// Parts of a page marked `data-live` stay as the server would render them now. The server says when to look
// again (/events); what it renders is merged into the page, so that focus, scrolling and opened details stay.

let source = null;
let busy = false;
let again = false;

export function keepFresh(after) {
  if (!document.querySelector("[data-live]")) return;
  const see = () => {
    if (document.hidden) {
      source?.close(); // browsers give one server six connections for all tabs together
      source = null;
    } else if (!source) {
      source = new EventSource("/events");
      source.addEventListener("change", () => refresh(after));
      source.addEventListener("error", () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        source = null; // refused: most likely the session has ended; the page itself tells
        setTimeout(() => { refresh(after); see(); }, 5000);
      });
    }
  };
  document.addEventListener("visibilitychange", see);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", see);
  see();
}

async function refresh(after) {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    else if (answer.ok) merge(new DOMParser().parseFromString(await answer.text(), "text/html"), after);
  } catch {
    // The server is away; the event stream comes back by itself and says `change` then.
  } finally {
    busy = false;
    if (again) {
      again = false;
      refresh(after);
    }
  }
}

function merge(fresh, after) {
  const focused = document.activeElement;
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (other) morph(part, other);
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true }); // its row has moved
  if (fresh.title !== document.title) document.title = fresh.title;
  after();
  document.dispatchEvent(new CustomEvent("lumper:fresh"));
}

function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
  } else if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
  } else {
    morphAttributes(old, fresh);
    if (old.matches("time[data-ago], time[data-since]")) return; // the page counts itself
    morphChildren(old, fresh);
  }
}

function morphAttributes(old, fresh) {
  const kept = old.nodeName === "DETAILS" ? "open" : "";
  for (const { name } of [...old.attributes]) if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
}

function morphChildren(old, fresh) {
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const same = wanted.id ? known.get(wanted.id) : undefined;
    if (same) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      morph(same, wanted);
    } else if (!wanted.id && at && !at.id && at.nodeType === wanted.nodeType && at.nodeName === wanted.nodeName) {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
