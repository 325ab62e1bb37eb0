// The open page, measured. `width`: what there is of it in px. `paper`: nothing can be scrolled.
(width, paper) => {
  const SLACK = 1; // px: rounding, not layout
  const SMALLEST = 9; // px
  const CONTRAST = 4.5; // WCAG 2.2, 1.4.3, level AA
  // What has no unit; everything else on an axis ends in one, in parentheses.
  const PURE = /^(mean loss|score|kappa|epsilon|round|clients, best first)\b[^()]*$/;
  const UNIT = /\((s|min|h|%|bpm|mV|MB|count)\)$/;

  const faults = new Set();
  const say = (rule, element, what = "") => {
    const text = (element.textContent || "").trim().slice(0, 40);
    const kind = element.tagName.toLowerCase() + (element.getAttribute("class") ? "." + element.getAttribute("class") : "");
    faults.add(`${rule}: <${kind}> ${JSON.stringify(text)} ${what}`.trim());
  };
  const up = function* (element) { for (; element; element = element.parentElement) yield element; };
  const scroller = (element) => [...up(element.parentElement)].find((e) => /auto|scroll/.test(getComputedStyle(e).overflowX) && e !== document.documentElement);
  const svgOf = (element) => element.closest("svg");

  // 1. Nothing leaves the page, the figure that it belongs to, or a box that cuts off.
  const root = document.documentElement;
  if (root.scrollWidth > width + SLACK) faults.add(`wider than the page: ${root.scrollWidth} of ${width} px`);
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!box.width && !box.height) continue;
    const style = getComputedStyle(element);
    const inner = svgOf(element);
    if (!inner && /auto|scroll|hidden|clip/.test(style.overflowX) && element.scrollWidth > element.clientWidth + SLACK) {
      if (paper || /hidden|clip/.test(style.overflowX)) say("cut off", element, `${element.scrollWidth} of ${element.clientWidth} px`);
    }
    if (scroller(element) && !paper) continue;
    if (box.left < -SLACK || box.right > width + SLACK) say("outside the page", element, `${box.left.toFixed()}..${box.right.toFixed()} px`);
    const figure = inner && inner !== element && element.closest("figure");
    if (figure) {
      const around = figure.getBoundingClientRect();
      if (box.left < around.left - SLACK || box.right > around.right + SLACK || box.top < around.top - SLACK || box.bottom > around.bottom + SLACK)
        say("outside its figure", element, `by ${Math.max(around.left - box.left, box.right - around.right, around.top - box.top, box.bottom - around.bottom).toFixed(1)} px`);
    }
  }

  // Pieces of text that are seen.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("style, script, title, desc")) continue;
    let boxes;
    if (svgOf(element)) boxes = [element.getBoundingClientRect()];
    else {
      const range = document.createRange();
      range.selectNodeContents(node);
      boxes = [...range.getClientRects()];
    }
    boxes = boxes.filter((box) => box.width > 0 && box.height > 0);
    if (boxes.length && getComputedStyle(element).visibility === "visible") texts.push({ element, boxes });
  }

  // 2. No text lies on another. Boxes of lines reach a little beyond their letters.
  const flat = texts.flatMap(({ element, boxes }) => boxes.map((box) => ({
    element, left: box.left + 1, right: box.right - 1, top: box.top + box.height * 0.2, bottom: box.bottom - box.height * 0.2,
  }))).sort((a, b) => a.top - b.top);
  flat.forEach((a, index) => {
    for (let next = index + 1; next < flat.length && flat[next].top < a.bottom; next++) {
      const b = flat[next];
      if (a.element !== b.element && a.left < b.right && b.left < a.right)
        say("overlap", a.element, `and ${JSON.stringify(b.element.textContent.trim().slice(0, 40))}`);
    }
  });

  // 3. Every text can be read: size, and contrast with what lies under it.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const colour = (css) => {
    if (!known.has(css)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = css;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(css, [r, g, b, a / 255]);
    }
    return known.get(css);
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const opacity = (element) => [...up(element)].reduce((all, e) => all * Number(getComputedStyle(e).opacity), 1);
  const faded = ([r, g, b, a], by) => [r, g, b, a * by];
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.cssText = "position:absolute;color:Canvas";
  const bare = colour(getComputedStyle(probe).color);
  probe.remove();
  const sheet = document.head.appendChild(document.createElement("style"));
  sheet.textContent = "*, svg * { pointer-events: visiblePainted !important }";
  const painted = (element) => {
    const style = getComputedStyle(element);
    const shape = svgOf(element) && element.tagName !== "svg";
    if (element.tagName === "text" || element.tagName === "tspan" || (shape && style.fill === "none")) return null;
    if (style.backgroundImage !== "none") say("a background that cannot be judged", element);
    const own = shape ? faded(colour(style.fill), Number(style.fillOpacity)) : colour(style.backgroundColor);
    return faded(own, opacity(element));
  };
  const under = (element, box) => {
    const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    let below = document.elementsFromPoint(x, y);
    const at = below.indexOf(element);
    // Scrolled out of sight: what its ancestors paint.
    below = at < 0 ? [...up(element)] : below.slice(at);
    const layers = below.map(painted).filter((layer) => layer && layer[3] > 0);
    return layers.reduceRight((ground, layer) => over(layer, ground), bare);
  };
  const luminance = ([r, g, b]) => {
    const linear = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  for (const { element, boxes } of texts) {
    const style = getComputedStyle(element);
    const svg = svgOf(element);
    const size = parseFloat(style.fontSize) * (svg ? element.getScreenCTM().a : 1);
    if (size < SMALLEST) say("small", element, `${size.toFixed(1)} px`);
    const ground = under(element, boxes[0]);
    const ink = over(faded(colour(svg ? style.fill : style.color), opacity(element) * (svg ? Number(style.fillOpacity) : 1)), ground);
    const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < CONTRAST) say("contrast", element, contrast.toFixed(2));
  }
  sheet.remove();

  // 4. Charts have names, and what has ticks says of what and in which unit, in words that are seen.
  const axes = [];
  for (const svg of document.querySelectorAll("svg")) {
    const named = svg.getAttribute("role") === "img" && svg.getAttribute("aria-label");
    if (!named && svg.getAttribute("aria-hidden") !== "true") say("no name", svg);
    if (!svg.querySelector(".tick") || !svg.getBoundingClientRect().width) continue;
    const name = (svg.getAttribute("aria-label") || "").replace(/^axis: /, "");
    axes.push(name);
    if (!UNIT.test(name) && !PURE.test(name)) say("no unit", svg, JSON.stringify(name));
    const figure = svg.closest("figure") || document.body;
    if (!texts.some(({ element }) => figure.contains(element) && element.textContent.trim() === name)) say("is not shown", svg, JSON.stringify(name));
  }
  return { faults: [...faults], axes, texts: texts.length };
}
