// Where the lines of an open step stand: lines in blocks, blocks on shelves. Only what is near the window is made of
// elements; what scrolls far away becomes an empty box of the height that it had. Lines are made a few at a time, so
// that the page answers however many and however long they are.
import { paint } from "./ansi.js";
import { make } from "./elements.js";
import { BLOCK } from "./log_lines.js";

const SHELF = 50 * BLOCK; // lines
const LINE_HEIGHT = 19; // pixels; only a guess for what was never shown
const TURN = 8; // milliseconds in which lines are made before the page has its turn
const TURN_TEXT = 30000; // characters in them, for what it takes to lay them out
const RUN = 30; // characters that take as long as an element

const nearby = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting, boundingClientRect } of entries) {
    if (isIntersecting) target.box.fill();
    else target.box.clear(boundingClientRect.height);
  }
}, { rootMargin: "1500px 0px" });

const waiting = new Set(); // blocks whose lines are to be made
let planned = false;

function later(block) {
  waiting.add(block);
  if (planned) return;
  planned = true;
  requestAnimationFrame(makeSome);
}

function makeSome() {
  planned = false;
  const turn = { until: performance.now() + TURN, text: TURN_TEXT };
  for (const block of waiting) {
    if (!block.makeLines(turn)) break;
    waiting.delete(block);
  }
  if (!waiting.size) return;
  planned = true;
  requestAnimationFrame(makeSome);
}

class Box {
  constructor(step, first, most) {
    Object.assign(this, { step, first, most });
    this.filled = false;
    this.lineHeight = LINE_HEIGHT;
    this.element = make("div", "chunk");
    this.element.box = this;
    nearby.observe(this.element);
  }

  get count() {
    return Math.min(this.most, this.step.lines.length - this.first);
  }

  hold() {
    this.element.style.minHeight = `${this.count * this.lineHeight}px`;
  }

  release() {
    this.element.style.minHeight = "";
  }

  fill() {
    if (this.filled) return;
    this.filled = true;
    this.more();
  }

  // The box has more lines than before.
  grow() {
    if (this.filled) this.more();
    else this.hold();
  }

  clear(height) {
    if (!this.filled) return;
    this.filled = false;
    this.lineHeight = height / this.count;
    this.hold();
    this.empty();
    this.element.replaceChildren();
  }

  remove() {
    nearby.unobserve(this.element);
    this.empty();
  }
}

class Block extends Box {
  constructor(step, first, lineHeight) {
    super(step, first, BLOCK);
    this.lineHeight = lineHeight;
    this.hold();
  }

  more() {
    this.hold();
    later(this);
  }

  empty() {
    waiting.delete(this);
  }

  // Make lines until all are there, which it tells, or the turn is over.
  makeLines(turn) {
    const lines = document.createDocumentFragment();
    let at = this.element.childElementCount;
    for (const [text, stream] of this.step.lines.block(this.first / BLOCK).slice(at)) {
      const line = this.line(at, text, stream);
      lines.append(line);
      at += 1;
      turn.text -= line.textContent.length + RUN * line.childElementCount;
      if (turn.text <= 0 || performance.now() > turn.until) break;
    }
    this.element.append(lines);
    if (at < this.count) return false;
    this.release();
    return true;
  }

  makeAll() {
    this.fill();
    waiting.delete(this);
    this.makeLines({ until: Infinity, text: Infinity });
  }

  line(at, text, stream) {
    const line = make("div", stream === 2 ? "l e" : stream === 0 ? "l o" : "l");
    if (at === 0) line.style.counterSet = `l ${this.first + 1}`; // no number comes in from another block
    paint(line, text, this.step.hit === this.first + at);
    this.step.decorate(line, this.first + at);
    return line;
  }
}

class Shelf extends Box {
  constructor(step, first) {
    super(step, first, SHELF);
    this.blocks = [];
    this.hold();
  }

  more() {
    this.release();
    this.blocks.at(-1)?.grow();
    const blocks = document.createDocumentFragment();
    while (this.blocks.length * BLOCK < this.count) {
      this.blocks.push(new Block(this.step, this.first + this.blocks.length * BLOCK, this.lineHeight));
      blocks.append(this.blocks.at(-1).element);
    }
    this.element.append(blocks);
  }

  empty() {
    for (const block of this.blocks) block.remove();
    this.blocks = [];
  }
}

// All boxes of a step, within its body.
export class Boxes {
  constructor(step, body) {
    Object.assign(this, { step, body });
    this.shelves = [];
    this.placed = 0; // lines that have their place
  }

  // The step may have more lines than before.
  grow() {
    const { length } = this.step.lines;
    if (this.placed < length) this.shelves.at(-1)?.grow();
    const shelves = document.createDocumentFragment();
    while (this.shelves.length * SHELF < length) {
      this.shelves.push(new Shelf(this.step, this.shelves.length * SHELF));
      shelves.append(this.shelves.at(-1).element);
    }
    this.body.append(shelves);
    this.placed = length;
  }

  // The element of a line, if it is made.
  element(index) {
    return this.block(index)?.element.children[index % BLOCK];
  }

  block(index) {
    return this.shelves[Math.floor(index / SHELF)]?.blocks[Math.floor((index % SHELF) / BLOCK)];
  }

  // Make a line's element, if it is not there yet.
  make(index) {
    this.shelves[Math.floor(index / SHELF)].fill();
    this.block(index).makeAll();
  }

  repaint(index) {
    const old = index >= 0 ? this.element(index) : undefined;
    if (old) old.replaceWith(this.block(index).line(index % BLOCK, ...this.step.lines.get(index)));
  }

  remove() {
    for (const shelf of this.shelves) shelf.remove();
  }
}

// The index in its step of the line that an element is.
export function indexOf(line) {
  return line.parentElement.box.first + [...line.parentElement.children].indexOf(line);
}
