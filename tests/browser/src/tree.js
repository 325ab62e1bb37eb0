// The open page as a list of tags and texts: `p` `#text` `/p`.
(() => {
  const out = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data.trim() && out.at(-1) !== "#text") out.push("#text");
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      out.push(node.localName);
      node.childNodes.forEach(walk);
      out.push("/" + node.localName);
    }
  };
  walk(document.documentElement);
  return out;
})()
