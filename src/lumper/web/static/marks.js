// Marks a text wherever it stands in an element, in capital or small letters.
export function mark(element, query) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    let rest = node;
    for (let at = rest.data.toLowerCase().indexOf(query); at >= 0; at = rest.data.toLowerCase().indexOf(query)) {
      const found = rest.splitText(at);
      rest = found.splitText(query.length);
      const marked = document.createElement("mark");
      found.replaceWith(marked);
      marked.append(found);
    }
  }
}
