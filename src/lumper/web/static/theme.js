// Before the first paint, and so not a module: the colours that were chosen in this browser.
(() => {
  try {
    const chosen = localStorage.getItem("lumper-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows the system.
  }
})();
