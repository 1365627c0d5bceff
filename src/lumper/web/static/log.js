// The log of a build, grouped by step: what comes from the server goes to the steps, what a person does to all of them.
import { counted, set } from "./elements.js";
import { indexOf } from "./log_boxes.js";
import { Step } from "./log_step.js";
import { LogStream } from "./log_stream.js";
import { LogSearch } from "./search.js";

const SMALL = 150; // lines; a finished log of no more is shown whole
const MOST_STEPS = 5000;
const GLIDE = 1000; // milliseconds that browsers take at most to glide where a key or wheel sent the page

const log = document.getElementById("log");
const find = (name) => log.querySelector(`[data-${name}]`);
const steps = new Map();
const attempt = Number(log.dataset.attempt);
let live = !("ended" in log.dataset) && log.dataset.attempt === log.dataset.newest;
let count = 0;
let dirty = new Set();
let planned = false;
let following = false;
let stuck = false; // to the end, while it runs away
let bottom = { height: 0, y: 0 }; // of the page, and where it was scrolled to, when it was last brought there
let pinned = false; // the same by the key End: lines that are made there are longer than was guessed
let sent = -GLIDE; // when a key or the wheel sent the page somewhere
let speaking = null; // the step of Lumper's own last word
let ended = false;
let away = false;
let removed = false;

function stepOf(number) {
  let step = steps.get(number);
  if (!step && steps.size < MOST_STEPS) steps.set(number, (step = new Step(number, find("steps"))));
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
    step.become(record);
  } else {
    step.lines.push(String(record.x), record.o === 2 ? 2 : record.o === 0 ? 0 : 1);
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
  stuck = following || (live && scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - 8);
  if (live) openSpeaking();
  for (const step of dirty) step.update();
  dirty = new Set();
  tell();
  search.grown();
  aim();
  stick();
}

function stick() {
  if (!stuck && !pinned) return;
  const height = document.documentElement.scrollHeight;
  scrollTo({ top: height, behavior: "instant" });
  bottom = { height, y: scrollY };
}

// While the build runs, the step that prints is open; the ones before it close when another one prints.
function openSpeaking() {
  const printing = [...dirty].filter((step) => step.state === "running" && step.lines.length && !step.touched && !step.body);
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
    const open = shown.includes(step) || (count <= SMALL && step.state !== "cached" && (step.lines.length || step.error));
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
    step.showEnd();
  };
}

function tell() {
  const words = [];
  if (count) words.push(counted(count));
  if (removed) words.push("the rest of this log is not kept any more");
  else if (away) words.push("the server does not answer, trying again");
  else if (live) words.push(steps.size ? "live" : "waiting for a worker");
  else if (ended && !steps.size) words.push("there is no log");
  set(find("count"), words.join(", "));
  find("tools").hidden = !steps.size;
  const open = [...steps.values()].filter((step) => step.lines.length).every((step) => step.body);
  set(find("all"), open ? "Close all" : "Open all");
}

function toggleAll() {
  const full = [...steps.values()].filter((step) => step.lines.length || step.error);
  const open = !full.every((step) => step.body);
  for (const step of full) {
    step.touched = true;
    step.toggle(open);
  }
  tell();
}

function follow(on) {
  stuck = following = on && live;
  find("follow").setAttribute("aria-pressed", String(following));
  if (following) plan();
}

// To the very end, at once: a browser glides there for some frames, and would go on gliding to where the end was.
function end() {
  pinned = true;
  stick();
}

// A person goes away from the end.
function leave() {
  follow(false);
  pinned = false;
}

function wrap(on) {
  log.toggleAttribute("data-wrapped", on);
  find("wrap").setAttribute("aria-pressed", String(on));
}

const named = () => /^#s(\d{1,9})-l(\d{1,9})$/.exec(location.hash);
let target = named();
let aimed = null;

// Show the line that the address names, as soon as it is there.
function aim() {
  const step = target && steps.get(Number(target[1]));
  const index = target && Number(target[2]) - 1;
  if (!step || index < 0 || index >= step.lines.length) return;
  target = null;
  pinned = false;
  point(step, index);
  step.show(index);
}

function point(step, index) {
  aimed?.stress("aimed", -1);
  aimed = step;
  step.stress("aimed", index);
}

find("steps").addEventListener("click", (event) => {
  const line = event.target.closest(".l");
  if (!line || event.clientX - line.getBoundingClientRect().left > 56) return;
  const step = line.parentElement.box.step;
  const index = indexOf(line);
  history.replaceState(null, "", `#${step.element.id}-l${index + 1}`);
  point(step, index);
});

const stream = new LogStream(log.dataset.stream, attempt, log.dataset.from, {
  take(lines) {
    lines.forEach(take);
    plan();
  },
  end({ state, attempt: newest }) {
    if (live && newest > attempt) location.replace(location.pathname); // another attempt has begun
    else finish(newest > attempt ? "cancelled" : state);
  },
  away(gone) {
    away = gone;
    plan();
  },
  gone() {
    removed = true;
    finish(log.dataset.state);
  },
});
const search = new LogSearch({
  url: (query) => `${log.dataset.find}?${new URLSearchParams({ attempt, from: log.dataset.from, q: query })}`,
  stepOf: (number) => steps.get(number),
  input: find("search"),
  hits: find("hits"),
  previous: find("previous"),
  next: find("next"),
});

find("all").addEventListener("click", toggleAll);
find("follow").addEventListener("click", () => follow(!following));
find("wrap").addEventListener("click", () => wrap(!log.hasAttribute("data-wrapped")));
addEventListener("wheel", (event) => {
  sent = performance.now();
  if (event.deltaY < 0) leave();
}, { passive: true });
addEventListener("touchmove", leave, { passive: true });
for (const kind of ["pointerdown", "input"]) addEventListener(kind, () => (pinned = false), { capture: true });
addEventListener("scroll", () => {
  const shorter = document.documentElement.scrollHeight < bottom.height; // which moves the page up by itself
  if (scrollY >= bottom.y - 8 || shorter) return;
  if (performance.now() < sent + GLIDE) stick(); // it was on its way somewhere else before the key End
  else pinned = false;
}, { passive: true });
new ResizeObserver(stick).observe(document.body);
addEventListener("hashchange", () => {
  target = named();
  aim();
});
document.addEventListener("keydown", (event) => {
  pinned = false;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "/") find("search").focus();
  else if (event.key === "e") toggleAll();
  else if (event.key === "f") follow(!following);
  else if (event.key === "w") wrap(!log.hasAttribute("data-wrapped"));
  else if (event.key === "End" && !event.shiftKey) end();
  else {
    sent = performance.now();
    if (["ArrowUp", "PageUp", "Home"].includes(event.key)) follow(false);
    return;
  }
  event.preventDefault();
});
document.addEventListener("lumper:fresh", () => {
  if (document.getElementById("build").dataset.attempt !== log.dataset.newest) location.replace(location.pathname);
});
setInterval(() => { for (const step of steps.values()) if (step.state === "running") step.updateTime(); }, 1000);

wrap(true);
find("follow").hidden = !live;
tell();
stream.connect();
