import { el, setText } from './dom.js';
import { isWorking, light, titleOf } from './phases.js';
import { tasksOf } from './tasks.js';
import { reasonOf } from './words.js';

/** Shortest time between two announcements, in ms: a screen reader reads a sentence at a time. */
const quietMs = 1_500;

/** Says phase changes politely in one place, never numbers, and each error once as an alert. */
export function createAnnouncer(status, alerts) {
  let before = null;
  let failed = new Map();
  let waiting = new Map();
  let timer;

  function say() {
    timer = undefined;
    if (waiting.size === 0) return;
    setText(status, [...waiting].map(([name, text]) => `${titleOf(name)}: ${text}`).join('. '));
    waiting = new Map();
    timer = setTimeout(say, quietMs);
  }

  return {
    clear() {
      before = null;
      waiting.clear();
    },
    update(view, now) {
      failed = sayFailures(view, failed, before !== null, alerts);
      const phases = Object.fromEntries(Object.entries(view.panes).map(([name, pane]) => [name, `${pane.run} ${pane.phase}`]));
      if (before !== null) {
        for (const [name, pane] of Object.entries(view.panes)) {
          if (before[name] === undefined || before[name] === phases[name]) continue;
          const text = isWorking(pane.phase) ? pane.phase : light(pane, undefined, now).text;
          if (pane.phase === 'error' || pane.phase === 'imaging_failed')
            alerts.replaceChildren(el('p', { role: 'alert' }, `${titleOf(name)}: ${text}`));
          else waiting.set(name, text);
        }
        if (timer === undefined) say();
      }
      before = phases;
    },
  };
}

/** Says each task that has failed since the last call, once; what is known now. */
function sayFailures(view, known, aloud, alerts) {
  const failed = new Map();
  for (const [name, pane] of Object.entries(view.panes))
    for (const task of tasksOf(pane).filter(({ status }) => status === 'failed'))
      failed.set(`${name} ${pane.run} ${task.id} ${task.attempt}`, `${titleOf(name)}: ${task.label}: ${reasonOf(task.error)}`);
  const fresh = [...failed].filter(([key]) => !known.has(key)).map(([, text]) => text);
  if (aloud && fresh.length > 0) alerts.replaceChildren(el('p', { role: 'alert' }, fresh.join('. ')));
  return failed;
}
