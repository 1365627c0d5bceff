// A step of a build: its head, and its lines when it is open.
import { plain } from "./ansi.js";
import { counted, make, set } from "./elements.js";
import { Boxes } from "./log_boxes.js";
import { Lines } from "./log_lines.js";
import { mark } from "./marks.js";
import { took } from "./page.js";

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
    this.boxes = null;
    this.aimed = -1;
    this.hit = -1;
    this.query = "";
    this.makeHead(parent);
  }

  makeHead(parent) {
    this.nameElement = make("span", "name", this.name); // until its record is shown: a button has a name at every moment
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
      this.boxes = new Boxes(this, this.body);
      this.element.append(this.body);
      this.element.dataset.open = "";
    } else {
      this.boxes.remove();
      this.body.remove();
      this.body = null;
      this.boxes = null;
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
    this.boxes.grow();
    if (this.error && !this.errorElement?.isConnected) this.errorElement = make("p", "error", plain(this.error));
    if (this.error) this.body.append(this.errorElement);
  }

  // Open the step and scroll to a line; it is there when this returns.
  show(index) {
    this.touched = true;
    this.toggle(true);
    this.boxes.make(index);
    const centre = () => this.boxes?.element(index)?.scrollIntoView({ block: "center", behavior: "instant" });
    centre();
    requestAnimationFrame(centre); // what was made meanwhile has another height than was guessed
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
    for (const changed of [before, index]) this.boxes?.repaint(changed);
  }

  decorate(line, index) {
    if (index === this.aimed) line.classList.add("aim");
    if (index !== this.hit) return;
    line.classList.add("hit");
    mark(line, this.query);
  }
}
