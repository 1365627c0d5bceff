// What all pages do: colours, copying, counting time, keys; and live.js keeps them fresh.
import { keepFresh } from "./live.js";

const AGES = [[60, 1, "s"], [3600, 60, "min"], [48 * 3600, 3600, "h"], [60 * 86400, 86400, "days"]];

function ago(then) {
  const seconds = (Date.now() - then) / 1000;
  if (seconds < 5) return "just now";
  for (const [limit, unit, name] of AGES) if (seconds < limit) return `${Math.floor(seconds / unit)} ${name} ago`;
  return new Date(then).toISOString().slice(0, 10);
}

export function took(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-ago]")) write(time, ago(Date.parse(time.dateTime)));
  for (const time of document.querySelectorAll("time[data-since]")) write(time, took((Date.now() - Date.parse(time.dateTime)) / 1000));
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("lumper-theme", root.dataset.theme);
  } catch {
    // It holds for this page then.
  }
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch { // plain http has no clipboard API
    const area = document.createElement("textarea");
    area.value = button.dataset.copy;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1400);
  say("Copied");
}

// For who does not see what changes; the same words are heard again only if they have been away.
function say(words) {
  const said = document.querySelector("[data-said]");
  said.textContent = "";
  setTimeout(() => { said.textContent = words; }, 100);
}

function search(event) {
  const field = document.querySelector("form[role=search] input");
  if (!field) return;
  field.focus();
  event.preventDefault(); // or else the key lands in the field
}

function moveRow(step) {
  const rows = [...document.querySelectorAll("a.row")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + step))] ?? rows[0];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-theme-toggle]");
  if (button?.dataset.copy !== undefined) copy(button);
  else if (button) changeTheme();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.submit();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "j" || event.key === "k") moveRow(event.key === "j" ? 1 : -1);
  else if (event.key === "t") changeTheme();
  else if (event.key === "/") search(event);
});
setInterval(tick, 1000);
tick();
keepFresh(tick);
