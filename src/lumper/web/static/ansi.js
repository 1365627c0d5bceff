// A line of terminal output as safe nodes: colours become classes, every other control sequence is dropped.
// Source: ECMA-48, section 8.3.117 (SGR); xterm, "Control Sequences". Nothing here makes markup from text.

const SEQUENCES = new RegExp(
  "(?:\\u001b\\[|\\u009b)([0-?]*)[ -/]*([@-~])" + // CSI
    "|(?:\\u001b[\\]PX^_]|[\\u009d\\u0090\\u0098\\u009e\\u009f])[^\\u0007\\u001b\\u009c]*(?:\\u0007|\\u001b\\\\|\\u009c|(?=\\u001b)|$)" + // OSC, DCS, SOS, PM, APC
    "|\\u001b[ -/]*[0-~]?" + // other escapes
    "|[\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f]", // lone controls; tabs stay
  "g",
);
const BIDI = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g; // would make a line read otherwise than it is (CVE-2021-42574)
const INTERESTING = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/;
const LONGEST = 4000; // characters of one line that are shown at first
const MOST_RUNS = 500; // changes of colour among them
const CUBE = [0, 95, 135, 175, 215, 255];
const BASIC = [[0, 0, 0], [205, 49, 49], [13, 188, 121], [229, 229, 16], [36, 114, 200], [188, 63, 188], [17, 168, 205], [204, 204, 204], [118, 118, 118], [241, 76, 76], [35, 209, 139], [245, 245, 67], [59, 142, 234], [214, 112, 214], [41, 184, 219], [255, 255, 255]];

// What the line says, as a terminal would leave it standing: for searching.
export function plain(text) {
  return INTERESTING.test(text) ? overwritten(text).replace(SEQUENCES, "").replace(BIDI, "\ufffd") : text;
}

// Fills `element` with the line. Of a long one, unless it is wanted `whole`, the beginning and a button for the rest.
export function paint(element, text, whole = false) {
  const left = INTERESTING.test(text) ? overwritten(text) : text;
  const hidden = paintText(element, left, whole ? Infinity : LONGEST, whole ? Infinity : MOST_RUNS);
  if (!hidden) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "rest";
  button.textContent = `… ${hidden.toLocaleString("en")} more characters`;
  button.addEventListener("click", () => {
    element.replaceChildren();
    paintText(element, left, Infinity, Infinity);
  });
  element.append(button);
}

// A carriage return goes back to the beginning of the line: progress bars leave their last state.
function overwritten(text) {
  const states = text.split("\r");
  return states.findLast((state) => state.replace(SEQUENCES, "") !== "") ?? "";
}

// Of the text at most so many characters, in at most so many runs of one colour; how many are left out.
function paintText(element, text, room, runs) {
  let style = {};
  let hidden = 0;
  const add = (part) => {
    const shown = runs > 0 ? part.slice(0, room) : "";
    append(element, shown, style);
    room -= shown.length;
    runs -= shown ? 1 : 0;
    hidden += part.length - shown.length;
  };
  let at = 0;
  for (const match of INTERESTING.test(text) ? text.matchAll(SEQUENCES) : []) {
    add(text.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] === "m") style = restyled(style, match[1]);
  }
  add(text.slice(at));
  return hidden;
}

function append(element, text, style) {
  if (!text) return;
  const safe = text.replace(BIDI, "\ufffd");
  const classes = classesOf(style);
  if (!classes) {
    element.append(safe);
    return;
  }
  const span = document.createElement("span");
  span.className = classes;
  span.textContent = safe;
  element.append(span);
}

function classesOf({ fore, back, bold, dim, italic, under, strike, inverse }) {
  const [front, behind] = inverse ? [back ?? 0, fore ?? 7] : [fore, back];
  const names = [];
  if (front !== undefined) names.push(`f${front}`);
  if (behind !== undefined) names.push(`g${behind}`);
  if (bold) names.push("b");
  if (dim) names.push("d");
  if (italic) names.push("i");
  if (under) names.push("u");
  if (strike) names.push("k");
  return names.join(" ");
}

function restyled(old, parameters) {
  if (!/^[0-9;:]*$/.test(parameters)) return old;
  const codes = parameters.split(/[;:]/).slice(0, 64).map(Number);
  let style = { ...old };
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) style = {};
    else if (code === 1) style.bold = true;
    else if (code === 2) style.dim = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.under = true;
    else if (code === 7) style.inverse = true;
    else if (code === 9) style.strike = true;
    else if (code === 22) style.bold = style.dim = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.under = false;
    else if (code === 27) style.inverse = false;
    else if (code === 29) style.strike = false;
    else if (code >= 30 && code <= 37) style.fore = code - 30;
    else if (code >= 40 && code <= 47) style.back = code - 40;
    else if (code >= 90 && code <= 97) style.fore = code - 82;
    else if (code >= 100 && code <= 107) style.back = code - 92;
    else if (code === 39) delete style.fore;
    else if (code === 49) delete style.back;
    else if (code === 38 || code === 48) {
      const extended = codes[i + 1] === 5;
      const colour = extended ? ofPalette(codes[i + 2]) : codes[i + 1] === 2 ? nearest(codes.slice(i + 2, i + 5)) : undefined;
      if (colour !== undefined) style[code === 38 ? "fore" : "back"] = colour;
      i += extended ? 2 : 4;
    }
  }
  return style;
}

function ofPalette(index) {
  if (!(index >= 0 && index <= 255)) return undefined;
  if (index < 16) return index;
  if (index >= 232) return nearest(Array(3).fill(8 + 10 * (index - 232)));
  const cell = index - 16;
  return nearest([CUBE[Math.floor(cell / 36)], CUBE[Math.floor(cell / 6) % 6], CUBE[cell % 6]]);
}

function nearest(colour) {
  if (colour.length < 3 || colour.some(Number.isNaN)) return undefined;
  const distance = (other) => other.reduce((sum, value, i) => sum + (value - colour[i]) ** 2, 0);
  return BASIC.reduce((best, other, i) => (distance(other) < distance(BASIC[best]) ? i : best), 0);
}
