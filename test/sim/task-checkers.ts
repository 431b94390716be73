import type { Rec, TaskChange } from '../../src/protocol/records.ts';
import { emptyState, foldState, type State } from '../../src/protocol/state.ts';
import { TaskLog } from '../machines/tasks/judge.ts';
import { Violation } from '../machines/rig.ts';
import { abortMs, type Report } from './report.ts';
import type { Call } from './models.ts';
import type { Life } from './truth.ts';
import { maxTasks, type World } from './world.ts';

type TaskRecord = Rec & { type: 'pane.phase' | 'tasks' | 'pane.content'; pane: string; run: string };

/** All promises about tasks, over one life of a session. */
export function checkTasks(world: World, life: Life, report: Report): void {
  checkProgress(world, life, report);
  checkPaused(life, report);
  checkFound(world, life, report);
  checkAsked(world, life, report);
  const calls = world.calls.filter((call) => call.session === life.session && call.task !== undefined);
  checkStopped(life, calls, report);
  checkCommitted(world, life, calls, report);
  checkWriters(calls, report);
}

function ofWorks(record: Rec): record is TaskRecord {
  return (
    (record.type === 'pane.phase' || record.type === 'tasks' || record.type === 'pane.content') &&
    record.pane === 'works'
  );
}

/** [T27] [T28] [T40] [T49]: by the same rules as the charts. */
function checkProgress(world: World, life: Life, report: Report): void {
  const retries = new Set(world.sent.flatMap(({ command }) => (command.type === 'task.retry' ? [command.id] : [])));
  const log = new TaskLog();
  let state: State = emptyState(life.session);
  for (const record of life.records) {
    const before = state;
    state = foldState(state, record);
    if (!ofWorks(record) && record.type !== 'session.recovered') continue;
    log.retries = record.by !== undefined && retries.has(record.by);
    try {
      // How often is not judged here: a record is as late as its disk.
      log.judge(record, before, state, record.seq * 10_000);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      report(error.rule, `record ${record.seq}: ${error.message}`);
    }
  }
}

/** Longest time from a task's beginning to its record: the time between two reports, and appends in flight. */
const reportedMs = 500;

/** [T46]: no task begins in a pane that is paused. */
function checkPaused(life: Life, report: Report): void {
  let pausedMs: number | null = null;
  life.records.forEach((record, index) => {
    const atMs = life.handedMs[index] ?? 0;
    if (record.type === 'pane.paused' && record.pane === 'works') pausedMs = record.paused ? atMs : null;
    if (record.type !== 'tasks' || record.pane !== 'works' || pausedMs === null || atMs < pausedMs + reportedMs) return;
    const begun = record.tasks.find(({ status }) => status === 'running');
    if (begun !== undefined)
      report('T46', `record ${record.seq}: task ${begun.id} begins ${atMs - pausedMs} ms after the pause`);
  });
}

/** Where each task was announced, by run and id. */
function announced(life: Life): { run: string; id: string; index: number }[] {
  const seen = new Set<string>();
  return life.records.flatMap((record, index) => {
    if (!ofWorks(record)) return [];
    const { run } = record;
    return tasksOf(record).flatMap(({ id, label }) => {
      if (label === undefined || seen.has(`${run} ${id}`)) return [];
      seen.add(`${run} ${id}`);
      return [{ run, id, index }];
    });
  });
}

function tasksOf(record: TaskRecord): TaskChange[] {
  if (record.type !== 'pane.content') return record.tasks ?? [];
  return record.task === undefined ? [] : [record.task];
}

/** [T68]: every star of a text that was written has one task, on record together with it: no crash comes in between. */
function checkFound(world: World, life: Life, report: Report): void {
  const tasks = grouped(announced(life), ({ id }) => id);
  const retried = new Set(world.sent.flatMap(({ command }) => (command.type === 'task.retry' ? [command.task] : [])));
  const sizes = grouped(announced(life), ({ run }) => run);
  const full = [...sizes.values()].some((ofRun) => ofRun.length >= maxTasks);
  const assistants = new Set<string>();
  life.records.forEach((record, index) => {
    if (record.type === 'message.added' && record.message.role === 'assistant') assistants.add(record.message.id);
    const piece =
      record.type === 'message.added'
        ? { message: record.message.id, at: 0, add: record.message.text }
        : record.type === 'message.text'
          ? record.text
          : undefined;
    if (piece === undefined || !assistants.has(piece.message)) return;
    for (const { index: offset } of piece.add.matchAll(/\*/g)) {
      const id = `${piece.message}.0.${piece.at + offset}`;
      const found = tasks.get(id) ?? [];
      const where = `the star ${id} of record ${record.seq}`;
      if (found.length === 0 && !full) report('T68', `${where} has no task`);
      if (found.length > 1 && !retried.has(id)) report('T68', `${where} has ${found.length} tasks`);
      const [first] = found;
      if (first !== undefined && (life.entry[first.index] ?? 0) > (life.entry[index] ?? 0))
        report('T27', `${where} got its task in a later append`);
    }
  });
}

/** [T48]: what was acked is on record, in the run that the ack names. */
function checkAsked(world: World, life: Life, report: Report): void {
  if (life.erased || world.truth.lives.some((other) => other.session === life.session && other !== life)) return;
  const there = new Set(announced(life).map(({ run, id }) => `${run} ${id}`));
  for (const { command, answer } of world.sent) {
    if (command.session !== life.session || command.type !== 'pane.run' || command.pane !== 'works') continue;
    if (answer === null || 'refused' in answer) continue;
    const asked = command.input?.['tasks'];
    for (const task of Array.isArray(asked) ? asked : []) {
      const id =
        typeof task === 'object' && task !== null && !Array.isArray(task)
          ? JSON.stringify(task['id'] ?? '').slice(1, -1)
          : '';
      if (!there.has(`${answer.run ?? ''} ${id}`))
        report('T48', `task ${id} was acked with run ${answer.run ?? 'none'} and is not on record there`);
    }
  }
}

const letGoMs = ({ abortMs: aborted, endMs }: Call): number =>
  Math.min(aborted ?? Number.POSITIVE_INFINITY, endMs ?? Number.POSITIVE_INFINITY);

/** [T45]: the call of a task that is over on record is over. */
function checkStopped(life: Life, calls: readonly Call[], report: Report): void {
  life.records.forEach((record, index) => {
    if (!ofWorks(record) || record.type === 'pane.phase') return;
    const atMs = life.handedMs[index] ?? 0;
    for (const { id, status } of tasksOf(record)) {
      if (status === undefined || status === null || status === 'running' || status === 'queued') continue;
      const late = calls.find(
        (call) => call.run === record.run && call.task === id && call.startMs < atMs && letGoMs(call) > atMs + abortMs,
      );
      if (late !== undefined)
        report('T45', `record ${record.seq}: task ${id} is ${status}, its call ${late.id} goes on`);
    }
  });
}

/** [T40]: a part holds what calls of its own task have answered, none of which was let go. */
function checkCommitted(world: World, life: Life, calls: readonly Call[], report: Report): void {
  // A run of its own goes on from what the one before has made.
  const retried = new Set(world.sent.flatMap(({ command }) => (command.type === 'task.retry' ? [command.task] : [])));
  for (const record of life.records) {
    if (record.type !== 'pane.content' || record.pane !== 'works') continue;
    const { value, run, task } = record;
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value['partial'] !== false) continue;
    const { text } = value;
    if (typeof text !== 'string') continue;
    for (const [, made] of text.matchAll(/\bc(\d+) /g)) {
      const call = calls.find(({ id }) => id === Number(made));
      const where = `record ${record.seq}: part ${record.key} of task ${task?.id ?? ''} was made by call ${made}`;
      if (call === undefined || call.task !== task?.id) report('T40', `${where} of ${call?.task ?? 'nobody'}`);
      else if (call.run !== run && !(task !== undefined && retried.has(task.id)))
        report('T40', `${where} of run ${call.run}`);
      else if (call.outcome !== 'answered') report('T40', `${where}, which was ${call.outcome}`);
    }
  }
}

/** [T48]: one writer a part at every instant. */
function checkWriters(calls: readonly Call[], report: Report): void {
  for (const [key, ofKey] of grouped(calls, (call) => call.key)) {
    if (key === '') continue;
    for (const call of ofKey) {
      const other = ofKey.find(
        (b) => b.id !== call.id && b.startMs <= call.startMs && b.id < call.id && letGoMs(b) > call.startMs,
      );
      if (other !== undefined)
        report(
          'T48',
          `calls ${other.id} (${other.task}) and ${call.id} (${call.task}) write ${key} at ${call.startMs} ms`,
        );
    }
  }
}

/** At every start no more calls than the host allowed then, and not sooner than it allowed. */
export function checkLimits(world: World, report: Report): void {
  for (const call of world.calls) {
    // Who came first in that millisecond, the call's slot or the change, the times do not say.
    if (call.abortedAtStart || world.limitsThen.some(({ ms }) => ms === call.startMs && ms > 0)) continue;
    const limit = world.limitsThen.findLast(({ ms }) => ms <= call.startMs);
    if (limit === undefined) continue;
    const others = world.calls.filter(({ process, id }) => process === call.process && id < call.id);
    const open = others.filter(({ endMs }) => (endMs ?? Number.POSITIVE_INFINITY) > call.startMs);
    if (open.length >= limit.concurrency)
      report(
        'limits',
        `call ${call.id} is number ${open.length + 1} at ${call.startMs} ms, allowed are ${limit.concurrency}`,
      );
    const before = others.at(-1);
    // An interval counts from the first start after it was set.
    if (before !== undefined && before.startMs > limit.ms && call.startMs - before.startMs < limit.minIntervalMs)
      report(
        'limits',
        `call ${call.id} starts ${call.startMs - before.startMs} ms after call ${before.id}, allowed are ${limit.minIntervalMs}`,
      );
  }
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
