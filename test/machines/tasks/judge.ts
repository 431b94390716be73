import { isPending } from '../../../src/protocol/fold-tasks.ts';
import { isTerminal } from '../../../src/protocol/names.ts';
import type { Fact, TaskChange } from '../../../src/protocol/records.ts';
import type { State } from '../../../src/protocol/state.ts';
import { mustHold } from '../rig.ts';

/** What is on record of one pane's runs so far, as far as the rules ask. */
export class TaskLog {
  readonly runs = new Map<string, 'queued' | 'open' | 'ended'>();
  readonly committed = new Set<string>();
  /** When plain reports were made, ms. */
  readonly reportsMs: number[] = [];
  /** The event under way lets tasks of an open run go back from done to pending. */
  retries = false;
  /** The event under way is somebody's word, or the end of work: what it says is not counted as a report. */
  current: string | null = null;

  /** Judges one fact of the pane against all before it. `after`: the state with it. */
  judge(fact: Fact, before: State, after: State, nowMs: number): void {
    // Each stay at work has ten a second.
    if (fact.type === 'pane.phase' || fact.type === 'session.recovered') this.reportsMs.length = 0;
    if (fact.type === 'pane.phase') this.#judgePhase(fact, before, after);
    else if (fact.type === 'tasks' || fact.type === 'pane.content') this.#judgeTasks(fact, before, nowMs);
    if ('pane' in fact) this.#judgeProgress(fact.pane, before, after);
  }

  #judgePhase(fact: Fact & { type: 'pane.phase' }, before: State, after: State): void {
    const { run, phase } = fact;
    const is = this.runs.get(run);
    const said = `${phase} of ${run}`;
    mustHold(is !== 'ended', 'T49', () => `${said} follows its end`);
    if (phase === 'queued') {
      mustHold(is === undefined, 'T49', () => `${said} is not its first phase`);
      mustHold((fact.tasks ?? []).length > 0, 'T27', () => `${said} brings no task`);
      this.runs.set(run, 'queued');
      return;
    }
    if (is === 'queued' && isTerminal(phase) && before.view.panes[fact.pane]?.run !== run) {
      this.runs.set(run, 'ended');
      return;
    }
    if (run !== this.current) {
      mustHold(is === undefined || is === 'queued', 'T49', () => `${said} comes after ${this.current} has begun`);
      mustHold(!isTerminal(phase), 'T49', () => `${said} is the first that is heard of it`);
      if (this.current !== null)
        mustHold(this.runs.get(this.current) === 'ended', 'T49', () => `${said} while ${this.current} is open`);
      this.current = run;
      const tasks = Object.values(after.view.panes[fact.pane]?.tasks ?? {});
      mustHold(
        tasks.length > 0 && tasks.every(({ label }) => label !== ''),
        'T27',
        () => `${said} does not say its tasks`,
      );
    } else this.#judgeKnown(fact.tasks ?? [], before.view.panes[fact.pane]?.tasks ?? {}, said);
    this.runs.set(run, isTerminal(phase) ? 'ended' : 'open');
  }

  #judgeTasks(fact: Fact & { type: 'tasks' | 'pane.content' }, before: State, nowMs: number): void {
    const { run } = fact;
    const is = this.runs.get(run);
    const said = `${fact.type} of ${run}`;
    mustHold(
      is === 'open' || (is === 'queued' && fact.type === 'tasks'),
      'T40',
      () => `${said}, which is ${is ?? 'unknown'}`,
    );
    const queued = before.private.panes[fact.pane]?.queue.find((other) => other.run === run)?.tasks ?? [];
    const view = before.view.panes[fact.pane];
    const known = is === 'queued' ? Object.fromEntries(queued.map((task) => [task.id, task])) : (view?.tasks ?? {});
    const changes = fact.type === 'tasks' ? fact.tasks : fact.task === undefined ? [] : [fact.task];
    this.#judgeKnown(changes, known, said);
    if (fact.type === 'pane.content') this.#judgeContent(fact, before);
    else if (changes.every(isReport)) {
      const recent = this.reportsMs.filter((ms) => ms > nowMs - 1_000);
      this.reportsMs.splice(0, this.reportsMs.length, ...recent, nowMs);
      mustHold(recent.length < 10, 'T28', () => `${recent.length + 1} reports in a second`);
    }
  }

  /** Each change is of a task that is known, or brings one whole. */
  #judgeKnown(changes: readonly TaskChange[], known: { [id: string]: unknown }, said: string): void {
    for (const { id, label } of changes)
      mustHold(
        known[id] !== undefined || label !== undefined,
        'T27',
        () => `${said} names ${id}, which nobody has announced`,
      );
  }

  #judgeContent({ run, key, task, version }: Fact & { type: 'pane.content' }, before: State): void {
    const view = before.view.panes['works'];
    const old = view?.tasks[task?.id ?? ''];
    const name = `${run} ${task?.id ?? ''} ${old?.attempt ?? 0}`;
    mustHold(old !== undefined && old.key === key, 'T40', () => `part ${key} of a task that does not write it`);
    mustHold(!this.committed.has(name), 'T40', () => `part ${key} is committed twice for ${name}`);
    mustHold(
      // A run that is being cancelled says at its end what has become of its tasks.
      task?.status === 'cancelled' ? old.status === 'cancelled' || view?.phase === 'cancelling' : isPending(old),
      'T40',
      () => `part ${key} of task ${old.id}, which was ${old.status}, as ${task?.status ?? 'nothing'}`,
    );
    if (task?.status === 'cancelled') {
      const other = Object.values(view?.tasks ?? {}).find(
        ({ id, key: its, status }) => id !== old.id && its === key && (status === 'running' || status === 'succeeded'),
      );
      mustHold(
        other === undefined,
        'T40',
        () => `${old.id}, cancelled, writes part ${key} of ${other?.id} (${other?.status})`,
      );
    }
    mustHold(version === (view?.parts[key]?.version ?? 0) + 1, 'T40', () => `version ${version} of part ${key}`);
    this.committed.add(name);
  }

  #judgeProgress(pane: string, before: State, after: State): void {
    const old = before.view.panes[pane];
    const now = after.view.panes[pane];
    if (old === undefined || now === undefined || old.run !== now.run || old.counts === null || now.counts === null)
      return;
    const [was, is] = [old.counts, now.counts];
    const said = `from ${JSON.stringify(was)} to ${JSON.stringify(is)}`;
    mustHold(is.total >= was.total, 'T28', () => `the total goes back ${said}`);
    mustHold(is.ok >= was.ok, 'T28', () => `ok goes back ${said}`);
    mustHold(is.done >= was.done || this.retries, 'T28', () => `done goes back ${said}`);
    mustHold(is.done === is.total - is.pending, 'T28', () => `they do not add up: ${said}`);
    for (const [id, task] of Object.entries(now.tasks)) {
      const before = old.tasks[id];
      if (before === undefined) continue;
      mustHold(task.attempt >= before.attempt, 'T28', () => `attempt ${task.attempt} of ${id} after ${before.attempt}`);
      mustHold(
        isPending(before) || before.status === task.status || (this.retries && task.status === 'queued'),
        'T49',
        () => `${id} was ${before.status} and is ${task.status}`,
      );
    }
  }
}

/** A report of how it goes, as against what has to be on record at once. */
function isReport({ label, checkpoint, status, rank, asset }: TaskChange): boolean {
  return (
    label === undefined &&
    checkpoint === undefined &&
    rank === undefined &&
    asset === undefined &&
    status !== 'queued' &&
    status !== 'cancelled'
  );
}
