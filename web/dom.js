/** An element with attributes and children. Text only ever goes in as text. `on*` takes a listener. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else setAttribute(node, name, value);
  }
  node.append(...children);
  return node;
}

/** A symbol of the sprite in index.html. */
export function icon(name, size = 12) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.classList.add('ico');
  svg.setAttribute('width', size);
  svg.setAttribute('height', size);
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#${name}`);
  svg.append(use);
  return svg;
}

/** Writes only what differs: screen readers and selections live on nodes that stay. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** null, undefined and false take the attribute away; true gives it an empty value. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else {
    const text = value === true ? '' : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

/** Makes `parent` hold exactly `nodes`, in that order, touching only what differs: what goes, goes first, so that what stays keeps its focus. */
export function setChildren(parent, nodes) {
  const kept = new Set(nodes);
  const gone = [...parent.children].filter((child) => !kept.has(child));
  gone.forEach((child) => child.remove());
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

/** Replaces the children when `key` differs from the last call for this parent. */
export function rebuild(parent, key, build) {
  if (parent.dataset.key === key) return;
  parent.dataset.key = key;
  const old = [...parent.querySelectorAll('button')];
  const index = old.indexOf(document.activeElement);
  const act = old[index]?.dataset.act;
  parent.replaceChildren(...build());
  if (index < 0) return;
  // A button that was pressed may have changed its name; focus stays with its action, or else in its place.
  const buttons = [...parent.querySelectorAll('button')];
  const heir = buttons.find((button) => act !== undefined && button.dataset.act === act) ?? buttons[Math.min(index, buttons.length - 1)];
  heir?.focus({ preventScroll: true });
}

export function chip(light) {
  return el('span', { class: 'chip', 'data-tone': light.tone }, icon(light.icon), el('span', {}, light.text));
}

/** Changes a chip in place. */
export function setChip(node, light) {
  setAttribute(node, 'data-tone', light.tone);
  rebuild(node, `${light.icon} ${light.text}`, () => [icon(light.icon), el('span', {}, light.text)]);
}

export function button(label, attributes = {}) {
  return el('button', { type: 'button', class: 'btn quiet', ...attributes }, label);
}

/** Text as paragraphs; only paragraphs that differ are written, so a growing text touches its end. */
export function setParagraphs(node, text, caret = null) {
  const parts = text.split(/\n{2,}/);
  while (node.children.length > parts.length) node.lastElementChild.remove();
  parts.forEach((part, index) => {
    let p = node.children[index];
    if (p === undefined) node.append((p = el('p', {}, '')));
    const first = p.firstChild;
    if (first?.nodeType !== Node.TEXT_NODE) p.prepend(part);
    else if (first.data !== part) first.data = part;
  });
  if (caret !== null) node.lastElementChild.append(caret);
}

export function clockTime(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
}
