import { authorised } from './assets.js';
import { setLights } from './chat.js';
import { clockTime, el, setAttribute, setChildren, setText } from './dom.js';
import { isBusy, light, shortLight, sidePanes, titleOf, windowOf } from './phases.js';

const titlesKey = 'mullion.titles';

/** Titles are the first line that the user wrote; they live in this browser. */
export function titles() {
  try {
    return JSON.parse(localStorage.getItem(titlesKey) ?? '{}');
  } catch {
    return {};
  }
}

export function rememberTitle(session, text) {
  const all = titles();
  if (all[session] === text) return;
  const entries = Object.entries({ ...all, [session]: text }).slice(-200);
  localStorage.setItem(titlesKey, JSON.stringify(Object.fromEntries(entries)));
}

/** The list of sessions: the server's, with the open one first known from its own stream. */
export function createSessions(root) {
  const list = root.querySelector('.rows');
  const rows = new Map();
  let known = [];
  return {
    async refresh() {
      try {
        const response = await authorised('/v1/sessions');
        if (!response.ok) return;
        const body = await response.json();
        known = (Array.isArray(body) ? body : (body.sessions ?? [])).filter((one) => typeof one?.session === 'string');
      } catch {
        // The list is a convenience; the stream says when the server is away.
      }
    },
    update(state, now) {
      const current = state.view.session;
      const others = known.filter((one) => one.session !== current);
      const here = known.find((one) => one.session === current);
      const all = [{ session: current, at: here?.at, own: true }, ...others];
      if (here !== undefined) all.sort((a, b) => String(b.at ?? '').localeCompare(String(a.at ?? '')));
      const named = titles();
      const nodes = all.map((one) => {
        const row = rows.get(one.session) ?? createRow(one.session);
        rows.set(one.session, row);
        const panes = one.own ? state.view.panes : panesOf(one);
        const waits = Object.fromEntries(Object.entries(one.waits ?? {}).map(([name, wait]) => [name, { wait }]));
        updateRow(row, named[one.session] ?? 'Untitled', panes, one.own ? state.live : waits, one.own, one.at, now);
        return row.node;
      });
      setChildren(list, nodes);
    },
  };
}

function createRow(session) {
  const parts = { win: el('span', { class: 'win', role: 'img' }), title: el('b', {}), state: el('span', { class: 'st' }) };
  const link = el('a', { class: 'row', href: `#s=${session}` }, parts.win, parts.title, parts.state);
  return { node: el('li', {}, link), link, ...parts };
}

/** The phases of another session, from whatever its summary holds: a phase, or an object with one. */
function panesOf(one) {
  const panes = one.summary?.panes ?? {};
  const views = Object.entries(panes).map(([name, value]) => {
    const phase = typeof value === 'string' ? value : value?.phase;
    const { done, total } = value ?? {};
    const counts = typeof total === 'number' ? { total, done, ok: done, failed: 0, pending: total - done } : null;
    const blank = { kind: name, error: null, retryAt: null, reason: null, paused: false, since: one.at };
    return [name, { ...blank, ...(typeof value === 'object' ? value : {}), counts, phase: phase ?? 'idle' }];
  });
  return Object.fromEntries(views);
}

function updateRow(row, title, panes, live, own, at, now) {
  const names = sidePanes(windowOf({ panes }));
  const all = windowOf({ panes });
  const lights = names.map((name) => ({ name, ...light(all[name], live[name], now) }));
  const reply = Object.values(panes).find((pane) => pane.kind === 'reply');
  setText(row.title, title);
  setAttribute(row.link, 'aria-current', own ? 'true' : null);
  setLights(row.win, lights.length === 0 ? [null, null] : lights.map((one) => (one.tone === 'ok' && !own ? null : (one.tone ?? null))));
  const spoken = lights.map((one) => `${titleOf(one.name)} ${one.text}`).join(', ') || 'no panes yet';
  setAttribute(row.win, 'aria-label', spoken);
  setAttribute(row.win, 'title', spoken);
  const top = lights.find((one) => one.tone === 'err') ?? lights.find((one) => one.tone === 'work') ?? lights.find((one) => live[one.name]?.wait !== undefined);
  const replying = reply !== undefined && isBusy(reply) ? light(reply, live['reply'], now) : undefined;
  const shown = top ?? replying;
  setAttribute(row.state, 'data-tone', shown?.tone);
  setText(row.state, shown === undefined ? when(at, now) : shortLight(shown));
}

function when(at, now) {
  if (at === undefined) return 'idle';
  const date = new Date(at);
  const days = Math.floor(new Date(now).setHours(0, 0, 0, 0) / 86_400_000) - Math.floor(new Date(at).setHours(0, 0, 0, 0) / 86_400_000);
  if (days <= 0) return clockTime(at);
  return days === 1 ? `yesterday ${clockTime(at)}` : date.toLocaleDateString([], { day: 'numeric', month: 'short' });
}
