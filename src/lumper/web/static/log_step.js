// A step of a build: its head, and its lines when it is open. Only lines near the window are elements; what scrolls far
// away becomes an empty box of the height that they had.
import { paint, plain } from "./ansi.js";
import { BLOCK, Lines } from "./log_lines.js";
import { mark } from "./marks.js";
import { took } from "./page.js";

const LINE_HEIGHT = 19; // pixels; only a guess for what was never shown

const nearby = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting, boundingClientRect } of entries) {
    if (isIntersecting) target.box.fill();
    else target.box.clear(boundingClientRect.height);
  }
}, { rootMargin: "2000px 0px" });

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function counted(count) {
  return `${count.toLocaleString("en")} ${count === 1 ? "line" : "lines"}`;
}

// The place of one block of lines in the body of an open step.
class Box {
  constructor(step, number) {
    this.step = step;
    this.number = number;
    this.filled = false;
    this.element = make("div", "chunk");
    this.element.box = this;
    this.grow();
    nearby.observe(this.element);
  }

  // The block has more lines than before.
  grow() {
    if (this.filled) this.append();
    else this.hold(Math.min(BLOCK, this.step.lines.length - this.number * BLOCK) * LINE_HEIGHT);
  }

  hold(height) {
    this.element.style.minHeight = `${height}px`;
  }

  fill() {
    if (this.filled) return;
    this.filled = true;
    this.element.style.minHeight = "";
    this.append();
  }

  append() {
    const lines = document.createDocumentFragment();
    const shown = this.element.childElementCount;
    this.step.lines.block(this.number).slice(shown).forEach(([text, stream], i) => lines.append(this.line(shown + i, text, stream)));
    this.element.append(lines);
  }

  line(at, text, stream) {
    const line = make("div", stream === 2 ? "l e" : stream === 0 ? "l o" : "l");
    if (at === 0) line.style.counterSet = `l ${this.number * BLOCK + 1}`; // no number comes in from another block
    paint(line, text);
    this.step.decorate(line, this.number * BLOCK + at);
    return line;
  }

  clear(height) {
    if (!this.filled) return;
    this.filled = false;
    this.hold(height);
    this.element.replaceChildren();
  }

  remove() {
    nearby.unobserve(this.element);
  }
}

export class Step {
  constructor(number, parent) {
    this.number = number;
    this.name = `step ${number}`;
    this.state = "running";
    this.began = 0;
    this.ended = 0;
    this.error = "";
    this.lines = new Lines();
    this.touched = false; // a person opened or closed it: nothing else does from then on
    this.body = null;
    this.boxes = [];
    this.placed = 0; // lines that have their place in a box
    this.aimed = -1;
    this.hit = -1;
    this.query = "";
    this.makeHead(parent);
  }

  makeHead(parent) {
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
    parent.append(this.element);
  }

  // A record of the log about this step itself.
  become({ n, st, t, e }) {
    this.name = plain(String(n));
    this.state = String(st);
    this.began ||= Number(t);
    this.ended = Number(t);
    if (e) this.error = String(e);
  }

  toggle(open) {
    if (open === Boolean(this.body)) return;
    if (open) {
      this.body = make("div", "body");
      this.element.append(this.body);
      this.element.dataset.open = "";
    } else {
      for (const box of this.boxes) box.remove();
      this.body.remove();
      this.body = null;
      this.boxes = [];
      this.placed = 0;
      delete this.element.dataset.open;
    }
    this.update();
  }

  update() {
    this.element.dataset.state = this.state;
    this.element.toggleAttribute("data-empty", !this.lines.length && !this.error);
    this.button.setAttribute("aria-expanded", String(Boolean(this.body)));
    set(this.nameElement, this.name);
    set(this.badge, ["done", "running"].includes(this.state) ? "" : this.state);
    this.badge.hidden = !this.badge.textContent;
    set(this.linesElement, this.lines.length ? counted(this.lines.length) : "");
    this.updateTime();
    if (this.body) this.place();
  }

  updateTime() {
    const end = this.state === "running" ? Date.now() / 1000 : this.ended;
    if (!this.began || !end || this.state === "cached") return set(this.time, "");
    const seconds = Math.max(0, end - this.began);
    set(this.time, this.state === "running" || seconds >= 60 ? took(seconds) : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
  }

  place() {
    if (this.placed < this.lines.length && this.boxes.length) this.boxes.at(-1).grow();
    const boxes = document.createDocumentFragment();
    while (this.boxes.length * BLOCK < this.lines.length) {
      this.boxes.push(new Box(this, this.boxes.length));
      boxes.append(this.boxes.at(-1).element);
    }
    this.body.append(boxes);
    this.placed = this.lines.length;
    if (this.error && !this.errorElement?.isConnected) this.errorElement = make("p", "error", plain(this.error));
    if (this.error) this.body.append(this.errorElement);
  }

  // Open the step and scroll to a line; it is there when this returns.
  show(index) {
    this.touched = true;
    this.toggle(true);
    this.boxes[Math.floor(index / BLOCK)].fill();
    const line = () => this.boxes[Math.floor(index / BLOCK)]?.element.children[index % BLOCK];
    const centre = () => line()?.scrollIntoView({ block: "center", behavior: "instant" });
    centre();
    requestAnimationFrame(centre); // what was filled meanwhile has another height than was guessed
  }

  showEnd() {
    this.touched = true;
    this.toggle(true);
    if (!this.error && this.lines.length) return this.show(this.lines.length - 1);
    (this.errorElement ?? this.button).scrollIntoView({ block: "center" });
  }

  // Make a line stand out: the one that the address names ("aimed"), or a hit of the search. -1: none.
  stress(kind, index, query = "") {
    const before = this[kind];
    this[kind] = index;
    if (kind === "hit") this.query = query;
    for (const changed of [before, index]) this.repaint(changed);
  }

  repaint(index) {
    const box = this.boxes[Math.floor(index / BLOCK)];
    const old = index >= 0 && box?.filled ? box.element.children[index % BLOCK] : undefined;
    if (old) old.replaceWith(box.line(index % BLOCK, ...this.lines.get(index)));
  }

  decorate(line, index) {
    if (index === this.aimed) line.classList.add("aim");
    if (index !== this.hit) return;
    line.classList.add("hit");
    mark(line, this.query);
  }

  // The index of a line's element.
  indexOf(line) {
    return line.parentElement.box.number * BLOCK + [...line.parentElement.children].indexOf(line);
  }
}
