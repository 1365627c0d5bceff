// The log of a build, grouped by step. Records stay as text in memory; lines become elements in chunks when their
// step is open and they come near the window, so that a million of them are no more work than a screenful.
import { paint, plain } from "./ansi.js";
import { LogSearch } from "./search.js";
import { took } from "./page.js";

const CHUNK = 200; // lines
const LINE_HEIGHT = 19; // pixels; only a guess for what was never shown
const SMALL = 150; // lines; a finished log of no more is shown whole
const MOST_STEPS = 5000;

const log = document.getElementById("log");
const find = (name) => log.querySelector(`[data-${name}]`);
const stepsElement = find("steps");
const steps = new Map();
const attempt = Number(log.dataset.attempt);
let live = !["succeeded", "failed", "cancelled"].includes(log.dataset.state) && log.dataset.attempt === log.dataset.newest;
let count = 0;
let offset = "0";
let source = null;
let dirty = new Set();
let planned = false;
let following = false;
let speaking = null; // the step of Lumper's own last word
let ended = false;

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) entry.target.fill?.();
}, { rootMargin: "1500px 0px" });

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

class Step {
  constructor(number) {
    this.number = number;
    this.name = `step ${number}`;
    this.state = "running";
    this.began = 0;
    this.ended = 0;
    this.error = "";
    this.texts = [];
    this.streams = [];
    this.touched = false; // a person opened or closed it: nothing else does from then on
    this.body = null;
    this.chunks = [];
    this.shown = 0; // lines that have their place in a chunk
    this.makeHead();
  }

  makeHead() {
    this.nameElement = make("span", "name");
    this.badge = make("span", "badge");
    this.linesElement = make("span", "lines");
    this.time = make("span", "time");
    this.button = make("button", "", make("span", "mark"), this.nameElement, this.badge, this.linesElement, this.time);
    this.button.type = "button";
    this.button.addEventListener("click", () => {
      this.touched = true;
      this.toggle(!this.body);
    });
    this.element = make("section", "step", this.button);
    this.element.id = `s${this.number}`;
    stepsElement.append(this.element);
  }

  toggle(open) {
    if (open === Boolean(this.body)) return;
    if (open) {
      this.body = make("div", "body");
      this.element.append(this.body);
      this.element.dataset.open = "";
    } else {
      for (const chunk of this.chunks) nearby.unobserve(chunk);
      this.body.remove();
      this.body = null;
      this.chunks = [];
      this.shown = 0;
      delete this.element.dataset.open;
    }
    this.update();
  }

  update() {
    this.element.dataset.state = this.state;
    this.element.toggleAttribute("data-empty", !this.texts.length && !this.error);
    this.button.setAttribute("aria-expanded", String(Boolean(this.body)));
    set(this.nameElement, this.name);
    set(this.badge, ["done", "running"].includes(this.state) ? "" : this.state);
    this.badge.hidden = !this.badge.textContent;
    set(this.linesElement, this.texts.length ? `${this.texts.length.toLocaleString("en")} ${this.texts.length === 1 ? "line" : "lines"}` : "");
    this.updateTime();
    if (this.body) this.place();
  }

  updateTime() {
    const end = this.state === "running" ? (ended ? 0 : Date.now() / 1000) : this.ended;
    if (!this.began || !end || this.state === "cached") return set(this.time, "");
    const seconds = Math.max(0, end - this.began);
    set(this.time, this.state === "running" || seconds >= 60 ? took(seconds) : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
  }

  // Give every line its chunk; chunks near the window get their elements from the observer.
  place() {
    while (this.shown < this.texts.length) {
      let chunk = this.chunks[Math.floor(this.shown / CHUNK)];
      if (!chunk) {
        chunk = make("div", "chunk");
        chunk.start = this.shown;
        chunk.fill = () => this.fill(chunk);
        this.chunks.push(chunk);
        this.body.append(chunk);
        nearby.observe(chunk);
      }
      this.shown = Math.min(chunk.start + CHUNK, this.texts.length);
      chunk.style.setProperty("--size", `${(this.shown - chunk.start) * LINE_HEIGHT}px`);
      if (chunk.filled) this.fill(chunk);
      else chunk.style.minHeight = `${(this.shown - chunk.start) * LINE_HEIGHT}px`;
    }
    if (this.error && !this.body.error) {
      this.body.error = make("p", "error", plain(this.error));
      this.body.append(this.body.error);
    } else if (this.body.error) {
      this.body.append(this.body.error);
    }
  }

  fill(chunk) {
    chunk.filled = true;
    chunk.style.minHeight = "";
    const end = Math.min(chunk.start + CHUNK, this.texts.length);
    const lines = document.createDocumentFragment();
    for (let i = chunk.start + chunk.childElementCount; i < end; i++) lines.append(this.makeLine(i));
    chunk.append(lines);
  }

  makeLine(index) {
    const line = make("div", this.streams[index] === 2 ? "l e" : this.streams[index] === 0 ? "l o" : "l");
    if (index % CHUNK === 0) line.style.counterSet = `l ${index + 1}`; // no number comes in from another chunk
    paint(line, this.texts[index]);
    return line;
  }

  line(index) {
    this.toggle(true);
    const chunk = this.chunks[Math.floor(index / CHUNK)];
    if (!chunk.filled) this.fill(chunk);
    return chunk.children[index - chunk.start];
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function stepOf(number) {
  let step = steps.get(number);
  if (!step && steps.size < MOST_STEPS) steps.set(number, (step = new Step(number)));
  return step;
}

function take(line) {
  let record;
  try {
    record = JSON.parse(line);
  } catch {
    return; // half a line, which a crash may leave
  }
  const step = record && Number.isInteger(record.s) ? stepOf(record.s) : undefined;
  if (!step) return;
  dirty.add(step);
  if (record.st !== undefined) {
    step.name = plain(String(record.n));
    step.state = String(record.st);
    step.began ||= Number(record.t);
    step.ended = Number(record.t);
    if (record.e) step.error = String(record.e);
  } else {
    step.texts.push(String(record.x));
    step.streams.push(record.o);
    if (record.o === 0) speaking = step;
    count += 1;
  }
}

function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    flush();
  });
}

function flush() {
  const root = document.documentElement;
  const stick = following || (live && scrollY > 0 && innerHeight + scrollY >= root.scrollHeight - 8);
  if (live) openSpeaking();
  for (const step of dirty) step.update();
  dirty = new Set();
  tell();
  search.grown();
  aim();
  if (stick) scrollTo({ top: root.scrollHeight, behavior: "instant" });
}

// While the build runs, the step that prints is open; the ones before it close when another one prints.
function openSpeaking() {
  const printing = [...dirty].filter((step) => step.state === "running" && step.texts.length && !step.touched && !step.body);
  if (!printing.length) return;
  for (const step of steps.values()) if (!step.touched && step.state !== "running" && step.state !== "failed") step.toggle(false);
  for (const step of printing) step.toggle(true);
}

function finish(state) {
  ended = true;
  live = false;
  for (const step of steps.values()) if (step.state === "running") { // its end was never told
    step.state = { succeeded: "done", failed: "failed" }[state] ?? "cancelled";
    dirty.add(step);
  }
  const failed = [...steps.values()].filter((step) => step.state === "failed");
  const shown = failed.length || state !== "failed" ? failed : [speaking].filter(Boolean);
  for (const step of steps.values()) {
    const open = shown.includes(step) || (count <= SMALL && step.state !== "cached" && (step.texts.length || step.error));
    if (!step.touched && open) step.toggle(true);
    step.updateTime();
  }
  follow(false);
  find("follow").hidden = true;
  showFailing(shown.at(-1));
  plan();
}

// The way to the end of the step that failed: mostly that is where the reason stands.
function showFailing(step) {
  const link = find("failing");
  link.hidden = !step;
  link.onclick = (event) => {
    event.preventDefault();
    step.touched = true;
    step.toggle(true);
    const last = step.body.error ?? (step.texts.length ? step.line(step.texts.length - 1) : step.button);
    last.scrollIntoView({ block: "center" });
  };
}

function tell() {
  const words = [];
  if (count) words.push(`${count.toLocaleString("en")} ${count === 1 ? "line" : "lines"}`);
  if (live) words.push(steps.size ? "live" : "waiting for a worker");
  else if (ended && !steps.size) words.push("there is no log");
  set(find("count"), words.join(", "));
  find("tools").hidden = !steps.size;
  const open = [...steps.values()].filter((step) => step.texts.length).every((step) => step.body);
  set(find("all"), open ? "Close all" : "Open all");
}

function connect() {
  if (ended || source || document.hidden) return;
  source = new EventSource(`${log.dataset.stream}?attempt=${attempt}&from=${offset}`);
  source.onmessage = (event) => {
    offset = event.lastEventId;
    for (const line of event.data.split("\n")) take(line);
    plan();
  };
  source.addEventListener("end", (event) => {
    source.close();
    const { state, attempt: newest } = JSON.parse(event.data);
    if (live && newest > attempt) location.replace(location.pathname); // another attempt has begun
    else finish(newest > attempt ? "cancelled" : state);
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) set(find("count"), "the log cannot be read now; reload the page");
  };
}

function toggleAll() {
  const full = [...steps.values()].filter((step) => step.texts.length || step.error);
  const open = !full.every((step) => step.body);
  for (const step of full) {
    step.touched = true;
    step.toggle(open);
  }
  tell();
}

function follow(on) {
  following = on && live;
  find("follow").setAttribute("aria-pressed", String(following));
  if (following) plan();
}

function wrap(on) {
  log.toggleAttribute("data-wrapped", on);
  find("wrap").setAttribute("aria-pressed", String(on));
}

let target = /^#s(\d{1,9})-l(\d{1,9})$/.exec(location.hash);

// Show the line that the address names, as soon as it is there.
function aim() {
  const step = target && steps.get(Number(target[1]));
  const index = target && Number(target[2]) - 1;
  if (!step || index < 0 || index >= step.texts.length) return;
  target = null;
  step.touched = true;
  log.querySelector(".aim")?.classList.remove("aim");
  const line = step.line(index);
  line.classList.add("aim");
  line.scrollIntoView({ block: "center" });
}

stepsElement.addEventListener("click", (event) => {
  const line = event.target.closest(".l");
  if (!line || event.clientX - line.getBoundingClientRect().left > 56) return;
  const chunk = line.parentElement;
  const index = chunk.start + [...chunk.children].indexOf(line);
  history.replaceState(null, "", `#${line.closest(".step").id}-l${index + 1}`);
  log.querySelector(".aim")?.classList.remove("aim");
  line.classList.add("aim");
});

const search = new LogSearch({ steps, input: find("search"), hits: find("hits"), previous: find("previous"), next: find("next") });
find("all").addEventListener("click", toggleAll);
find("follow").addEventListener("click", () => follow(!following));
find("wrap").addEventListener("click", () => wrap(!log.hasAttribute("data-wrapped")));
addEventListener("wheel", (event) => { if (event.deltaY < 0) follow(false); }, { passive: true });
addEventListener("touchmove", () => follow(false), { passive: true });
addEventListener("hashchange", () => {
  target = /^#s(\d{1,9})-l(\d{1,9})$/.exec(location.hash);
  aim();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "/") find("search").focus();
  else if (event.key === "e") toggleAll();
  else if (event.key === "f") follow(!following);
  else if (event.key === "w") wrap(!log.hasAttribute("data-wrapped"));
  else {
    if (["ArrowUp", "PageUp", "Home"].includes(event.key)) follow(false);
    return;
  }
  event.preventDefault();
});
document.addEventListener("lumper:fresh", () => {
  if (document.getElementById("build").dataset.attempt !== log.dataset.newest) location.replace(location.pathname);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect();
  source?.close();
  source = null;
});
addEventListener("pagehide", () => { source?.close(); source = null; });
addEventListener("pageshow", connect);
setInterval(() => { for (const step of steps.values()) if (step.state === "running") step.updateTime(); }, 1000);

wrap(true);
find("follow").hidden = !live;
tell();
connect();
