import { isDeepStrictEqual } from 'node:util';
import type { AckFrame } from '../../src/protocol/frames.ts';
import { isTerminal } from '../../src/protocol/names.ts';
import type { Rec } from '../../src/protocol/records.ts';
import type { View } from '../../src/protocol/view.ts';
import { taskFaults } from './crash-tasks.ts';
import type { Asked, Seen } from './wire.ts';

/** A command that a client has sent, with what came back. */
export interface Sent {
  session: string;
  command: Asked & { id: string };
  ack?: AckFrame;
  /** Refused for good. */
  refused?: string;
  sends: number;
}

/** All that is known at the end: what `check` judges. */
export interface Evidence {
  sent: readonly Sent[];
  followers: readonly { session: string; seen: Seen }[];
  /** GET /v1/sessions/{s} at the end. */
  views: { [session: string]: View };
  /** Panes that did not come to rest, in words. */
  restless: readonly string[];
  /** Answers to repeated commands that differ from the first one. */
  contradictions: readonly string[];
}

/** Every violation of a promise that the evidence shows. Pure. */
export function check({ sent, followers, views, restless, contradictions }: Evidence): string[] {
  const found: string[] = [...contradictions, ...restless];
  for (const { session, seen } of followers) {
    found.push(...seen.violations.map((text) => `${session}: ${text} [P5]`));
    if (seen.snapshots.length !== 1)
      found.push(`${session}: snapshots ${seen.snapshots.join(', ')}, expected one [P5]`);
    if (!isDeepStrictEqual(seen.view, views[session]))
      found.push(`${session}: the fold differs from the server's view`);
    found.push(...runFaults(seen.records).map((text) => `${session}: ${text}`));
  }
  const bySession = new Map<string, Seen[]>();
  for (const { session, seen } of followers) bySession.set(session, [...(bySession.get(session) ?? []), seen]);
  for (const [session, [first, ...others]] of bySession) {
    for (const other of others)
      if (!isDeepStrictEqual(first?.records, other.records))
        found.push(`${session}: two clients saw different records [P5]`);
    found.push(
      ...commandFaults(
        sent.filter((one) => one.session === session),
        first?.records ?? [],
      ),
    );
    if (first?.base !== undefined)
      found.push(
        ...taskFaults(
          first.base,
          first.records,
          sent.filter((one) => one.session === session),
        ).map((text) => `${session}: ${text}`),
      );
  }
  return found;
}

/** Acked commands that are not there, or are there twice; unacked ones that are there twice. */
function commandFaults(sent: readonly Sent[], records: readonly Rec[]): string[] {
  const causes = new Map<string, Rec[]>();
  for (const record of records)
    if (record.by !== undefined) causes.set(record.by, [...(causes.get(record.by) ?? []), record]);
  return sent.flatMap(({ session, command, ack }) => {
    const mark = markOf(command);
    if (mark === undefined) return [];
    const times = (causes.get(command.id) ?? []).filter((record) => mark(record)).length;
    if (times > 1) return [`${session}: ${command.type} ${command.id} was applied ${times} times [P4]`];
    return times === 0 && ack !== undefined ? [`${session}: acked ${command.type} ${command.id} is lost [P4]`] : [];
  });
}

/** The one record that shows that a command was applied; undefined for commands that need not make one. */
function markOf(command: Asked): ((record: Rec) => boolean) | undefined {
  switch (command.type) {
    case 'message.add':
      return (record) =>
        record.type === 'message.added' && record.message.role === command.role && record.message.text === command.text;
    case 'message.edit':
      return (record) => record.type === 'message.edited' && record.text === command.text;
    default:
      return undefined;
  }
}

/** Runs without an end, with two, or with something after it. [P1] */
function runFaults(records: readonly Rec[]): string[] {
  const runs = new Map<string, string[]>();
  const faults: string[] = [];
  for (const record of records) {
    if (record.type !== 'pane.phase') continue;
    const { pane, run, phase, attempt, seq } = record;
    const phases = runs.get(run) ?? [];
    const before = phases.at(-1);
    if (before !== undefined && isTerminal(before)) faults.push(`run ${run} of ${pane}: ${phase} after its end [P1]`);
    phases.push(`${pane}@${seq} attempt ${attempt}`, phase);
    runs.set(run, phases);
  }
  for (const [run, phases] of runs)
    if (!isTerminal(phases.at(-1) ?? '')) faults.push(`run ${run} has no end: ${phases.join(' ')} [P1]`);
  return faults;
}
