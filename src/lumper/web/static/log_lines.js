// The lines of a step, packed: a block of them is one string, which takes a fraction of what one for each would.
export const BLOCK = 200; // lines
const LARGE = 400_000; // characters of a block whose lines stay apart: they are long, and it would take time to part them

export class Lines {
  constructor() {
    this.length = 0;
    this.blocks = [];
    this.open = []; // lines of the last block, which is not full yet
    this.size = 0; // characters in it
    this.streams = []; // of each block, a character for each line
  }

  push(text, stream) {
    if (!this.open.length) this.streams.push("");
    this.open.push(text.includes("\n") ? text.replaceAll("\n", " ") : text);
    this.streams[this.streams.length - 1] += stream;
    this.length += 1;
    this.size += text.length;
    if (this.open.length < BLOCK) return;
    this.blocks.push(this.size > LARGE ? this.open : this.open.join("\n"));
    this.open = [];
    this.size = 0;
  }

  // The lines from the first one of block `number` to its last: [text, stream] each.
  block(number) {
    const kept = this.blocks[number] ?? this.open;
    return (typeof kept === "string" ? kept.split("\n") : kept).map((text, i) => [text, Number(this.streams[number][i])]);
  }

  get(index) {
    return this.block(Math.floor(index / BLOCK))[index % BLOCK];
  }
}
