// Small things that are done with elements everywhere.

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
