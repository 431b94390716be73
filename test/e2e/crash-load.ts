import { setTimeout as after } from 'node:timers/promises';
import type { View } from '../../src/protocol/view.ts';
import { cases } from '../support/hostile-cases.ts';
import type { Script } from '../support/hostile-server.ts';
import type { Sent } from './crash-check.ts';
import type { ModelServer } from './model-server.ts';
import type { Asked } from './wire.ts';

/** The panes that the load works with. */
export const allPanes = ['history', 'scene', 'reply', 'illustrations', 'chapters'] as const;

/** What a client of the crash loop thinks of next. `name`: no other message has it. */
export function think(random: () => number, name: string, view: View, sent: readonly Sent[]): Asked {
  const dice = random();
  const pane = pick(random, allPanes) ?? 'history';
  if (dice < 0.5)
    return { type: 'message.add', role: 'user', text: `message ${name}`, ...(dice < 0.2 ? { reply: false } : {}) };
  if (dice < 0.58) return chapters(random);
  if (dice < 0.72) return aboutTask(random, view) ?? { type: 'pane.run', pane: 'history' };
  if (dice < 0.78) return { type: 'pane.run', pane };
  if (dice < 0.82) return { type: 'pane.cancel', ...(dice < 0.8 ? { pane } : {}) };
  if (dice < 0.88) return { type: 'pane.pause', pane };
  if (dice < 0.95) return { type: 'pane.resume', pane };
  const own = sent.filter(
    (one) => one.ack?.message !== undefined && one.command.type === 'message.add' && one.command.role === 'user',
  );
  const message = pick(random, own)?.ack?.message;
  return message === undefined
    ? { type: 'message.add', role: 'user', text: `message ${name}` }
    : { type: 'message.edit', message, text: `edited ${name}` };
}

function chapters(random: () => number): Asked {
  const wanted = ['a', 'b', 'c', 'd', 'e'].filter(() => random() < 0.5);
  const wantedChapters = (wanted.length === 0 ? ['a'] : wanted).map((id) => ({ id, title: id, brief: `About ${id}.` }));
  const [edit, parallel] = [random() < 0.5, random() < 0.5];
  return { type: 'pane.run', pane: 'chapters', input: { chapters: wantedChapters, edit, parallel } };
}

/** A command about one of the tasks that are there; undefined when there are none. */
function aboutTask(random: () => number, { panes }: View): Asked | undefined {
  const pane = random() < 0.5 ? 'illustrations' : 'chapters';
  const tasks = Object.values(panes[pane]?.tasks ?? {});
  const failed = tasks.filter(({ status }) => status === 'failed' || status === 'cancelled');
  const task = pick(random, failed.length > 0 && random() < 0.5 ? failed : tasks)?.id;
  if (task === undefined) return undefined;
  return { type: pick(random, ['task.cancel', 'task.retry', 'task.prioritize'] as const) ?? 'task.retry', pane, task };
}

function pick<T>(random: () => number, list: readonly T[]): T | undefined {
  return list[Math.floor(random() * list.length)];
}

/** Answers take 20 to 200 ms; some fail, some are cut. */
export function scriptModel(model: ModelServer, random: () => number): void {
  const words = ['The ', 'lamp ', 'turns ', 'again, ', 'slowly.'];
  const slow =
    (then: Script): Script =>
    async (exchange) => {
      await Promise.race([after(20 + random() * 120), exchange.closed]);
      if (exchange.over) return;
      const dice = random();
      if (dice < 0.04) return cases.status(503)(exchange);
      if (dice < 0.06) return cases.reset(exchange);
      return then(exchange);
    };
  const text = (...tokens: string[]): Script =>
    slow((exchange) => cases.stream(tokens, { everyMs: random() * 12 })(exchange));
  const illustrated = [...words, '<!--img-prompt="the la', 'mp in fog"--', '>', ...words];
  model.script('reply', (exchange) => text(...(random() < 0.5 ? illustrated : [...words, ...words]))(exchange));
  model.script('outline', text('Beats ', 'and ', 'beats.'));
  model.script('draft', text(...words, ...words));
  model.script('edit', text(...words));
  model.script('summarize', text('They ', 'wait.'));
  model.script('describe', text('A lamp ', 'in fog.'));
  const answer = slow((exchange) => cases.stream([random() < 0.8 ? 'YES' : 'NO'])(exchange));
  model.script('evaluate-history', answer);
  model.script('evaluate-scene', answer);
  model.script('image', slow(cases.imageB64()));
}
