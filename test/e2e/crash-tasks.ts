/**
 * What the crash loop promises of panes with tasks, judged from the records that a follower has seen: nothing of it knows how the server
 * works. Pure.
 */
import type { AckFrame } from '../../src/protocol/frames.ts';
import { fold } from '../../src/protocol/fold.ts';
import { isTerminal } from '../../src/protocol/names.ts';
import type { Rec, TaskChange } from '../../src/protocol/records.ts';
import type { PaneView, View } from '../../src/protocol/view.ts';
import type { Sent } from './crash-check.ts';

/** The tags that the load writes; its prompts have no quotes. */
const tag = /<!--img-prompt="([^"]*)"-->/g;

/** Every violation that the records show. `base`: the view before the first of them. */
export function taskFaults(base: View, records: readonly Rec[], sent: readonly Sent[]): string[] {
  return [...tagFaults(records), ...commitFaults(records), ...ackFaults(records, sent), ...walk(base, records, sent)];
}

/** A prompt in recorded text without a task, or whose task has not ended as its part says. [T23] */
function tagFaults(records: readonly Rec[]): string[] {
  const faults: string[] = [];
  const { statuses, parts } = endsOf(records);
  for (const [message, text] of textsOf(records)) {
    for (const { index } of text.matchAll(tag)) {
      const key = `${message}.0.${index}`;
      const status = statuses.get(key);
      if (status === undefined) faults.push(`the prompt at ${key} has no task [T23]`);
      else if (status === 'queued' || status === 'running') faults.push(`task ${key} is ${status} at rest [T23]`);
      else if (status !== 'cancelled' && !parts.has(key))
        faults.push(`task ${key} has ${status} and left no part [T37]`);
    }
  }
  return faults;
}

/** Final texts of assistants' messages that were neither edited, removed nor replaced. */
function textsOf(records: readonly Rec[]): Map<string, string> {
  const texts = new Map<string, string>();
  const gone = new Set<string>();
  for (const record of records) {
    switch (record.type) {
      case 'message.added':
        if (record.message.role === 'assistant') texts.set(record.message.id, record.message.text);
        if (record.message.replaces !== undefined) gone.add(record.message.replaces);
        break;
      case 'message.text': {
        const { message, at, add } = record.text;
        const before = texts.get(message);
        if (before !== undefined) texts.set(message, before.slice(0, at) + add);
        break;
      }
      case 'message.edited':
      case 'message.removed':
        gone.add(record.message);
        break;
      default:
    }
  }
  for (const message of gone) texts.delete(message);
  return texts;
}

function changesOf(record: Rec): readonly TaskChange[] {
  if (record.type === 'pane.phase' || record.type === 'tasks') return record.tasks ?? [];
  return record.type === 'pane.content' && record.task !== undefined ? [record.task] : [];
}

/** The last status of each task of the illustrations, and the parts that were committed. What had not ended ends with its run. */
function endsOf(records: readonly Rec[]): { statuses: Map<string, string>; parts: Set<string> } {
  const statuses = new Map<string, string>();
  const runs = new Map<string, Set<string>>();
  const parts = new Set<string>();
  for (const record of records) {
    if (!('pane' in record) || record.pane !== 'illustrations' || !('run' in record)) continue;
    const tasks = runs.get(record.run) ?? new Set<string>();
    runs.set(record.run, tasks);
    for (const { id, status } of changesOf(record)) {
      tasks.add(id);
      if (typeof status === 'string') statuses.set(id, status);
      else if (!statuses.has(id)) statuses.set(id, 'queued');
    }
    if (record.type === 'pane.content') parts.add(record.key);
    if (record.type !== 'pane.phase' || !isTerminal(record.phase)) continue;
    for (const id of tasks) if (['queued', 'running'].includes(statuses.get(id) ?? '')) statuses.set(id, 'cancelled');
  }
  return { statuses, parts };
}

/** A task that has made its part twice, or versions of a part that are not 1, 2, 3 … */
function commitFaults(records: readonly Rec[]): string[] {
  const faults: string[] = [];
  const versions = new Map<string, number>();
  const made = new Set<string>();
  for (const record of records) {
    if (record.type !== 'pane.content') continue;
    const part = `${record.pane} ${record.key}`;
    const due = (versions.get(part) ?? 0) + 1;
    if (record.version !== due) faults.push(`${part}: version ${record.version} where ${due} was due`);
    versions.set(part, record.version);
    if (record.task?.status !== 'succeeded') continue;
    const task = `${record.run} ${record.task.id}`;
    if (made.has(task)) faults.push(`task ${task} has made its part twice [T46]`);
    made.add(task);
  }
  return faults;
}

/** Runs that an ack has named and that no record knows. [P4] */
function ackFaults(records: readonly Rec[], sent: readonly Sent[]): string[] {
  const runs = new Set(
    records.flatMap((record) => ('run' in record && record.type === 'pane.phase' ? [record.run] : [])),
  );
  return sent.flatMap(({ command, ack }) =>
    ack?.run !== undefined && !runs.has(ack.run)
      ? [`${command.type} ${command.id}: its run ${ack.run} is lost [P4]`]
      : [],
  );
}

/** Goes through the records one by one, as a client does: counts, writers, and what commands about tasks have done. */
function walk(base: View, records: readonly Rec[], sent: readonly Sent[]): string[] {
  const faults: string[] = [];
  const acks = acksBySeq(sent);
  let view = base;
  for (const record of records) {
    const before = view;
    view = fold(view, record);
    for (const [name, pane] of Object.entries(view.panes)) {
      const old = before.panes[name];
      if (pane === old || pane.counts === null) continue;
      faults.push(...countFaults(old, pane).map((text) => `${name}@${record.seq}: ${text}`), ...writerFaults(pane));
    }
    for (const { command } of acks.get(record.seq) ?? []) {
      if (command.type !== 'task.cancel') continue;
      const pane = view.panes[command.pane];
      const status = pane?.tasks[command.task]?.status;
      // What is being cancelled as a whole says so at its end, not task by task.
      if (pane?.phase === 'cancelling') continue;
      if (pane?.queued.length === 0 && (status === 'queued' || status === 'running'))
        faults.push(
          `acked task.cancel ${command.id} of ${command.task}: it is ${status} in ${pane.phase} at ${record.seq} [P4]`,
        );
    }
  }
  return faults;
}

function acksBySeq(sent: readonly Sent[]): Map<number, (Sent & { ack: AckFrame })[]> {
  const acks = new Map<number, (Sent & { ack: AckFrame })[]>();
  for (const one of sent) {
    const { ack } = one;
    if (ack?.seq !== undefined) acks.set(ack.seq, [...(acks.get(ack.seq) ?? []), { ...one, ack }]);
  }
  return acks;
}

function countFaults(old: PaneView | undefined, { run, counts }: PaneView): string[] {
  if (counts === null) return [];
  const { total, done, ok, failed, pending } = counts;
  const faults: string[] = [];
  if (done + pending !== total || ok + failed > done) faults.push(`counts do not add up: ${JSON.stringify(counts)}`);
  if (old === undefined || old.run !== run || old.counts === null) return faults;
  if (total < old.counts.total) faults.push(`total falls from ${old.counts.total} to ${total}`);
  if (ok < old.counts.ok) faults.push(`ok falls from ${old.counts.ok} to ${ok}`);
  return faults;
}

function writerFaults({ kind, tasks }: PaneView): string[] {
  const writing = Object.values(tasks).filter(({ status, key }) => status === 'running' && key !== '');
  const keys = new Set(writing.map(({ key }) => key));
  return keys.size === writing.length
    ? []
    : [`${kind}: two tasks write the same part: ${writing.map(({ id, key }) => `${id} ${key}`).join(', ')}`];
}
