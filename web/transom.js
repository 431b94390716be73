import { el, icon, rebuild, setText } from './dom.js';
import { titleOf } from './phases.js';

/** A lost connection is worth a word only after this long (ms). */
const quietMs = 1_000;

/** The line between head and window: the connection, and what was missed. */
export function createTransom(area, on) {
  let downSince = null;
  let dismissed = null;
  return {
    /** True while the page shows what was last seen, and nothing newer can come. */
    update(state, now) {
      const down = state.status === 'reconnecting' || state.status === 'connecting';
      if (!down) downSince = null;
      else downSince ??= now;
      const offline = down && now - downSince >= quietMs;
      const line = lineOf(state, offline, now, dismissed);
      const dismiss = () => {
        dismissed = state.caughtUp;
        on.changed();
      };
      rebuild(area, line === null ? '' : line.key, () => (line === null ? [] : [draw(line, on, dismiss)]));
      const count = area.querySelector('.num');
      if (count !== null && line?.seconds !== undefined) setText(count, `${line.seconds} s`);
      return offline;
    },
    downSince: () => downSince,
  };
}

function lineOf(state, offline, now, dismissed) {
  if (state.status === 'closed' && state.error !== null && state.error.code !== 'UNAUTHENTICATED') {
    return { key: `closed ${state.error.message}`, tone: 'err', icon: 'i-off', bold: 'Not connected.', text: ` ${state.error.message}` };
  }
  if (offline && state.retryAt !== null) {
    const seconds = Math.max(0, Math.ceil((state.retryAt - now) / 1_000));
    return { key: 'offline', tone: 'err', icon: 'i-off', bold: 'Offline.', seconds, try: true };
  }
  if (offline) return { key: 'trying', tone: 'work', icon: 'i-work', bold: 'Reconnecting…', text: ' Work on the server goes on.' };
  const { caughtUp } = state;
  if (state.status !== 'live' || caughtUp === null || caughtUp === dismissed || caughtUp.updates === 0) return null;
  const count = `Caught up: ${caughtUp.updates} ${caughtUp.updates === 1 ? 'update' : 'updates'}.`;
  const where = Object.entries(caughtUp.panes).map(([name, n]) => (n > 1 ? `${titleOf(name)} (${n})` : titleOf(name)));
  return { key: `${count} ${where.join()}`, tone: 'ok', icon: 'i-ok', bold: count, text: ` ${where.join(', ')}.`, dismiss: true };
}

function draw(line, on, dismiss) {
  const text = el('p', {}, el('b', {}, line.bold), line.text ?? '');
  if (line.seconds !== undefined)
    text.append(' Next try in ', el('span', { class: 'num' }, `${line.seconds} s`), '. Work on the server goes on.');
  const acts = el('span', { class: 'do' });
  if (line.try) acts.append(el('button', { type: 'button', class: 'btn', onclick: on.retry }, 'Try now'));
  if (line.dismiss)
    acts.append(el('button', { type: 'button', class: 'btn-icon', 'aria-label': 'Dismiss', title: 'Dismiss', onclick: dismiss }, icon('i-x', 16)));
  return el('div', { class: 'transom', 'data-tone': line.tone }, icon(line.icon, 16), text, acts);
}
