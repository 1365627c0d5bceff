// The records of a log as the server sends them, from an offset on; after a pause, an outage or a restart of the server
// they go on where they were.
const FIRST_PAUSE = 1000; // milliseconds
const LONGEST_PAUSE = 15000;

export class LogStream {
  // `take` gets the lines of one message, `end` what ends the log, `away` whether the server is; `gone`: the log is not
  // kept any more.
  constructor(url, attempt, from, { take, end, away, gone }) {
    Object.assign(this, { url, attempt, offset: from, take, end, away, gone });
    this.source = null;
    this.over = false;
    this.pause = FIRST_PAUSE;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.connect()));
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", () => this.connect());
  }

  connect() {
    if (this.over || this.source || document.hidden) return;
    this.source = new EventSource(`${this.url}?attempt=${this.attempt}&from=${this.offset}`);
    this.source.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.away(false);
    };
    this.source.onmessage = (event) => {
      this.offset = event.lastEventId;
      this.take(event.data.split("\n"));
    };
    this.source.addEventListener("end", (event) => {
      this.over = true;
      this.close();
      this.end(JSON.parse(event.data));
    });
    this.source.addEventListener("gone", () => {
      this.over = true;
      this.close();
      this.gone();
    });
    this.source.onerror = () => {
      this.away(true);
      if (this.source?.readyState === EventSource.CLOSED) this.again(); // refused: the browser itself does not try again
    };
  }

  again() {
    this.close();
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
