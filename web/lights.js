import { el, setAttribute, setChildren, setText } from './dom.js';
import { createPane } from './pane.js';
import { light, shortLight, sidePanes, titleOf, windowOf } from './phases.js';

/** The window of panes; on narrow screens tabs with one pane open, on phones as a sheet that is not modal. */
export function createLights(root, on) {
  const tabList = root.querySelector('.tabs');
  const panesRoot = root.querySelector('.lights');
  const panes = new Map();
  const tabs = new Map();
  let current = null;

  function select(name, focus) {
    const again = current === name && root.dataset.sheet !== 'peek';
    current = name;
    root.dataset.sheet = again ? 'peek' : root.dataset.sheet === 'peek' ? 'half' : root.dataset.sheet;
    show();
    if (focus) tabs.get(name)?.node.focus();
  }

  function show() {
    for (const [name, { node }] of panes) setAttribute(node, 'data-current', name === current);
    for (const [name, tab] of tabs) {
      setAttribute(tab.node, 'aria-selected', name === current ? 'true' : 'false');
      tab.node.tabIndex = name === current ? 0 : -1;
      if (name === current && tab.isOpen()) tab.unread.hidden = true;
    }
  }

  tabList.addEventListener('keydown', (event) => {
    const names = [...tabs.keys()];
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = names[(names.indexOf(current) + step + names.length) % names.length];
    current = next;
    show();
    tabs.get(next).node.focus();
  });

  function createTab(name) {
    const unread = el('i', { class: 'unread', hidden: true }, el('span', { class: 'vh' }, 'new'));
    const phase = el('small', {});
    const isOpen = () => getComputedStyle(panesRoot).display !== 'none' && panes.get(name)?.node.offsetParent !== null;
    const node = el(
      'button',
      { class: 'tab', type: 'button', role: 'tab', 'data-tab': name, 'aria-controls': `p-${name}`, onclick: () => select(name, false) },
      el('b', {}, titleOf(name), unread),
      phase,
    );
    return { node, phase, unread, isOpen, before: null };
  }

  return {
    clear() {
      panes.clear();
      tabs.clear();
      panesRoot.replaceChildren();
      tabList.replaceChildren();
      current = null;
    },
    update(view, live, context) {
      const panesOf = windowOf(view);
      const names = sidePanes(panesOf);
      for (const name of names) {
        if (!panes.has(name)) panes.set(name, createPane(name, { ...on, focusTool: (of) => panes.get(of)?.focusTool() }));
        if (!tabs.has(name)) tabs.set(name, createTab(name));
      }
      current ??= names[0] ?? null;
      setChildren(panesRoot, names.map((name) => panes.get(name).node));
      setChildren(tabList, names.map((name) => tabs.get(name).node));
      for (const name of names) {
        panes.get(name).update(panesOf[name], view, live[name], context);
        markTab(tabs.get(name), light(panesOf[name], live[name], context.now), panesOf[name], context.pulse);
      }
      tabList.hidden = names.length === 0;
      show();
    },
  };
}

/** A dot says that something came while the pane was not in sight. */
function markTab(tab, full, pane, known) {
  // A tab is narrow.
  setText(tab.phase, shortLight(full).replace(', ', ' '));
  const { ok = 0, failed = 0 } = pane.counts ?? {};
  const now = `${pane.run} ${pane.phase} ${ok} ${failed}`;
  const news = pane.phase === 'updated' || full.tone === 'err' || (pane.counts?.pending > 0 && ok + failed > 0 && tab.made !== `${ok} ${failed}`);
  tab.made = `${ok} ${failed}`;
  if (known && tab.before !== null && tab.before !== now && news && !tab.isOpen()) {
    tab.unread.hidden = false;
    setAttribute(tab.unread, 'data-tone', full.tone);
  }
  tab.before = now;
}
