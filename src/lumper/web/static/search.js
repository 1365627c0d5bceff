// Search within the log: the server looks through the whole of it, also what is not on the page yet.
const PAUSE = 200; // milliseconds after the last key
const GROWING = 2000; // milliseconds between two searches while the log grows

export class LogSearch {
  // `stepOf` gives the step with a number, if it has been read yet.
  constructor({ url, stepOf, input, hits, previous, next }) {
    Object.assign(this, { url, stepOf, input, output: hits });
    this.query = "";
    this.forget();
    this.timer = 0;
    this.asked = null;
    this.stale = false; // the log has grown since the server was asked
    input.addEventListener("input", () => this.later(PAUSE, () => this.search()));
    input.addEventListener("keydown", (event) => this.key(event));
    previous.addEventListener("click", () => this.go(-1));
    next.addEventListener("click", () => this.go(1));
  }

  forget() {
    Object.assign(this, { hits: [], count: 0, whole: true, at: -1, awaited: false, trouble: "" });
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

  // The log has more lines than before.
  grown() {
    if (!this.query) return;
    if (this.awaited) this.show();
    this.stale = true;
    this.again();
  }

  // Not while an answer is still to come: it would come never, where each takes longer than that.
  again() {
    if (this.stale && !this.timer && !this.asked) this.later(GROWING, () => this.ask());
  }

  async search() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.leave();
    this.query = this.input.value.toLowerCase();
    this.forget();
    if (this.query) this.output.textContent = "…";
    if (await this.ask()) this.go(1);
  }

  // Whether the server has answered to what is looked for now.
  async ask() {
    this.asked?.abort();
    this.asked = null;
    this.stale = false;
    if (!this.query) return this.tell();
    const asked = (this.asked = new AbortController());
    let found;
    try {
      const answer = await fetch(this.url(this.query), { signal: asked.signal });
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      found = { ...(await answer.json()), trouble: "" };
    } catch {
      found = { trouble: "the search failed" };
    }
    if (asked.signal.aborted) return false;
    this.asked = null;
    Object.assign(this, found);
    this.again();
    this.tell();
    return true;
  }

  go(by) {
    this.leave();
    if (this.hits.length) {
      this.at = this.at < 0 && by < 0 ? this.hits.length - 1 : (this.at + by + this.hits.length) % this.hits.length;
      this.show();
    }
    this.tell();
  }

  show() {
    const [number, line] = this.hits[this.at];
    const step = this.stepOf(number);
    this.awaited = !step || line > step.lines.length;
    if (this.awaited) return;
    step.stress("hit", line - 1, this.query);
    step.show(line - 1);
  }

  leave() {
    if (this.at >= 0) this.stepOf(this.hits[this.at][0])?.stress("hit", -1);
    this.awaited = false;
  }

  tell() {
    const all = `${this.count.toLocaleString("en")}${this.whole ? "" : "+"}`;
    const words = this.hits.length ? `${(this.at + 1).toLocaleString("en")} of ${all}` : "no hits";
    this.output.textContent = this.trouble || (this.query ? words : "");
  }
}
