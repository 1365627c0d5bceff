// Search within the log: over the text of all steps, also those that are closed.
import { paint, plain } from "./ansi.js";

const MOST = 10000; // hits
const PAUSE = 150; // milliseconds after the last key, before the log is searched
const GROWING = 700; // milliseconds between two searches while the log grows

export class LogSearch {
  constructor({ steps, input, hits, previous, next }) {
    Object.assign(this, { steps, input, output: hits });
    this.query = "";
    this.hits = [];
    this.at = -1;
    this.marked = null;
    this.timer = 0;
    input.addEventListener("input", () => this.later(PAUSE, () => this.search()));
    input.addEventListener("keydown", (event) => this.key(event));
    previous.addEventListener("click", () => this.go(-1));
    next.addEventListener("click", () => this.go(1));
  }

  later(milliseconds, action) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.timer = 0; action(); }, milliseconds);
  }

  key(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      if (this.query === this.input.value.toLowerCase()) this.go(event.shiftKey ? -1 : 1);
      else this.search();
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.search();
      this.input.blur();
    }
  }

  grown() {
    if (this.query && !this.timer) this.later(GROWING, () => { this.collect(); this.tell(); });
  }

  search() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.unmark();
    this.query = this.input.value.toLowerCase();
    this.collect();
    this.at = -1;
    if (this.hits.length) this.go(1);
    else this.tell();
  }

  collect() {
    this.hits = [];
    if (!this.query) return;
    for (const step of this.steps.values()) {
      for (let i = 0; i < step.texts.length; i++) {
        if (!plain(step.texts[i]).toLowerCase().includes(this.query)) continue;
        this.hits.push([step, i]);
        if (this.hits.length >= MOST) return;
      }
    }
  }

  go(by) {
    this.unmark();
    if (this.hits.length) {
      this.at = (this.at + by + this.hits.length) % this.hits.length;
      const [step, index] = this.hits[this.at];
      step.touched = true;
      const line = step.line(index);
      line.classList.add("hit");
      mark(line, this.query);
      this.marked = [line, step.texts[index]];
      line.scrollIntoView({ block: "center" });
    }
    this.tell();
  }

  tell() {
    const all = this.hits.length >= MOST ? `${MOST.toLocaleString("en")}+` : this.hits.length.toLocaleString("en");
    this.output.textContent = !this.query ? "" : this.hits.length ? `${(this.at + 1).toLocaleString("en")} of ${all}` : "no hits";
  }

  unmark() {
    if (!this.marked) return;
    const [line, text] = this.marked;
    line.classList.remove("hit");
    line.replaceChildren();
    paint(line, text);
    this.marked = null;
  }
}

function mark(line, query) {
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    let rest = node;
    for (let at = rest.data.toLowerCase().indexOf(query); at >= 0; at = rest.data.toLowerCase().indexOf(query)) {
      const found = rest.splitText(at);
      rest = found.splitText(query.length);
      const element = document.createElement("mark");
      found.replaceWith(element);
      element.append(found);
    }
  }
}
