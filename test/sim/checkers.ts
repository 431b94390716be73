import { isOpen } from '../../src/machines/derive.ts';
import { isTerminal, isWorking } from '../../src/protocol/names.ts';
import type { PaneDeclaration, PhaseFact, Rec } from '../../src/protocol/records.ts';
import { emptyState, foldState, type State } from '../../src/protocol/state.ts';
import { sameJson, torn } from './clients.ts';
import type { Call } from './models.ts';
import { abortMs, type Report } from './report.ts';
import { checkLimits, checkTasks } from './task-checkers.ts';
import type { Life } from './truth.ts';
import type { Violation, World } from './world.ts';

/** Longest time from a command to its answer when nothing stands in its way, ms: lookups, appends in flight, a delta's 250 ms. */
export const ackMs = 300;
/** All checks over what a simulation has left behind. `quiet` = after quiescence. */
export function checkWorld(world: World, quiet: boolean): Violation[] {
  const found: Violation[] = [...world.violations];
  for (const life of world.truth.lives) {
    const report: Report = (rule, what) => found.push({ rule, what: `${life.session} ${life.epoch}: ${what}` });
    checkRecords(life, report);
    checkCalls(world, life, report);
    checkTasks(world, life, report);
    if (quiet && !life.erased) checkQuiet(life, report);
  }
  const report: Report = (rule, what) => found.push({ rule, what });
  checkCommands(world, report);
  checkLimits(world, report);
  checkSightings(world, report);
  return found;
}

interface RunLog {
  pane: string;
  terminal: string | null;
  queued: boolean;
  /** Seq of its first record that is not `queued`. */
  firstSeq: number | null;
  /** Transcript when its work began. */
  sees: number | null;
  /** The transcript has moved since, while its pane's policy was `supersede`. */
  outdated: boolean;
}

interface PaneLog {
  declaration: PaneDeclaration;
  current: string | null;
  generation: number;
}

/** P1, P2, P3 and the form of the records, for one life of a session. */
export function checkRecords(life: Life, report: Report): void {
  const runs = new Map<string, RunLog>();
  const panes = new Map<string, PaneLog>();
  const open = new Map<string, { length: number; torn: boolean }>();
  const messages = new Set<string>();
  let state: State = emptyState(life.session);
  let at = '';
  life.records.forEach((record, index) => {
    if (record.seq !== index + 1) report('order', `record ${record.seq} stands at ${index + 1}`);
    if (record.at < at) report('at', `record ${record.seq}: ${record.at} after ${at}`);
    at = record.at;
    if (record.type === 'session.opened') {
      for (const [name, declaration] of Object.entries(record.panes))
        panes.set(name, {
          current: panes.get(name)?.current ?? null,
          declaration,
          generation: -1,
        });
    } else if (record.type === 'pane.phase') {
      const pane = panes.get(record.pane);
      if (pane === undefined) report('order', `record ${record.seq} of pane ${record.pane}, which is not declared`);
      else checkPhase(record, pane, runs, state, report);
    } else checkMessage(record, open, messages, report);
    const before = state.view.transcript;
    state = foldState(state, record);
    if (state.view.transcript === before) return;
    for (const { declaration, current } of panes.values()) {
      const run = current === null ? undefined : runs.get(current);
      if (run !== undefined && run.sees !== null && declaration.driven && declaration.policy === 'supersede')
        run.outdated = true;
    }
  });
  if (!sameJson(state, life.state)) report('fold', 'the fold of all records is not the fold record by record');
}

function checkPhase(
  record: Rec & PhaseFact,
  pane: PaneLog,
  runs: Map<string, RunLog>,
  state: State,
  report: Report,
): void {
  const where = `record ${record.seq} ${record.pane} ${record.phase} of run ${record.run}`;
  const run = runs.get(record.run) ?? {
    pane: record.pane,
    terminal: null,
    queued: false,
    firstSeq: null,
    sees: null,
    outdated: false,
  };
  runs.set(record.run, run);
  if (run.terminal !== null) report('P1', `${where} follows its ${run.terminal}`);
  if (run.pane !== record.pane) report('P1', `${where} was a run of ${run.pane}`);
  if (record.phase === 'queued') {
    run.queued = true;
    return;
  }
  if (isTerminal(record.phase)) run.terminal = record.phase;
  if (run.queued && run.firstSeq === null && isTerminal(record.phase)) return;
  if (record.run !== pane.current) {
    if (run.firstSeq !== null) report('P2', `${where} comes after run ${pane.current ?? ''} has begun`);
    const old = pane.current === null ? undefined : runs.get(pane.current);
    if (old !== undefined && old.terminal === null)
      report('P1', `${where} begins while run ${pane.current ?? ''} is open`);
    if (run.firstSeq === null && isTerminal(record.phase)) report('P1', `${where} is its first record`);
    pane.current = record.run;
    run.firstSeq = record.seq;
  }
  const { policy, driven } = pane.declaration;
  const { tasks = false } = pane.declaration;
  if (!tasks && (policy === 'supersede' || policy === 'latest') && record.generation < pane.generation)
    report('P3', `${where}: generation ${record.generation} after ${pane.generation}`);
  pane.generation = Math.max(pane.generation, record.generation);
  if (isWorking(record.phase)) run.sees ??= state.view.transcript;
  if (!driven || (record.phase !== 'updated' && record.phase !== 'unchanged')) return;
  if (record.covers !== run.sees)
    report('P6', `${where} covers ${record.covers ?? 'nothing'}, it saw ${run.sees ?? 'nothing'}`);
  if (run.outdated)
    report('P2', `${where}: it saw transcript ${run.sees ?? 'nothing'}, which is ${state.view.transcript} by now`);
}

function checkMessage(
  record: Rec,
  open: Map<string, { length: number; torn: boolean }>,
  messages: Set<string>,
  report: Report,
): void {
  switch (record.type) {
    case 'message.added': {
      const { id, final, text } = record.message;
      if (messages.has(id)) report('names', `message ${id} was added twice`);
      messages.add(id);
      if (!final) open.set(id, { length: text.length, torn: torn(text) });
      return;
    }
    case 'message.text': {
      const { message, at, add } = record.text;
      const place = open.get(message);
      if (place === undefined)
        return report('order', `record ${record.seq}: text of message ${message}, which is not open`);
      if (place.length !== at)
        report('order', `record ${record.seq}: text at ${at} of message ${message}, expected ${place.length}`);
      if (place.torn) report('text', `record ${record.seq}: text after a torn surrogate pair in message ${message}`);
      open.set(message, { length: at + add.length, torn: torn(add) });
      return;
    }
    case 'message.ended':
      if (!open.delete(record.message))
        report('P1', `record ${record.seq}: message ${record.message} ended without being open`);
      return;
    case 'message.removed':
      if (open.delete(record.message))
        report('P1', `record ${record.seq}: message ${record.message} was removed before it ended`);
      return;
    default:
  }
}

/** P7, P8, and that calls and results belong to the runs that they say. */
export function checkCalls(world: World, life: Life, report: Report): void {
  const byRun = new Map<string, Call[]>();
  for (const call of world.calls)
    if (call.session === life.session) byRun.set(call.run, [...(byRun.get(call.run) ?? []), call]);
  const lastPhase = new Map<string, string>();
  life.records.forEach((record, index) => {
    if (record.type !== 'pane.phase') return;
    const calls = byRun.get(record.run) ?? [];
    const atMs = life.handedMs[index] ?? 0;
    const where = `record ${record.seq} ${record.pane} ${record.phase} of run ${record.run}`;
    if (isTerminal(record.phase) || record.phase === 'cancelling') {
      for (const call of calls) {
        const over = Math.min(call.abortMs ?? Number.POSITIVE_INFINITY, call.endMs ?? Number.POSITIVE_INFINITY);
        if (over > atMs + abortMs) report('P7', `${where} at ${atMs} ms: its call ${call.id} was let go at ${over} ms`);
      }
    }
    if (record.phase === 'updated' || record.phase === 'unchanged') {
      const last = calls.findLast((call) => call.startMs <= atMs);
      if (last?.outcome === 'failed' && last.task === undefined)
        report('P8', `${where}: its last call ${last.id} failed`);
      const text = record.content?.['text'] ?? record.content?.['description'];
      const maker = typeof text === 'string' ? /^c(\d+)\b/.exec(text)?.[1] : undefined;
      if (maker !== undefined && !calls.some((call) => call.id === Number(maker)))
        report('P2', `${where}: its content was made by call ${maker} of another run`);
    }
    lastPhase.set(record.run, record.phase);
  });
  for (const [run, calls] of byRun) {
    if (!lastPhase.has(run)) continue;
    for (const call of calls) {
      if (!call.abortedAtStart && !isWorking(call.phase))
        report('P5', `call ${call.id} of ${call.pane} run ${run} began while its recorded phase was ${call.phase}`);
    }
  }
}

/** P1 and P6 after quiescence. */
export function checkQuiet(life: Life, report: Report): void {
  const { view, private: priv } = life.state;
  for (const [name, pane] of Object.entries(view.panes)) {
    if (isOpen(pane) && pane.phase !== 'paused')
      report('P1', `run ${pane.run ?? ''} of ${name} stays in ${pane.phase}`);
    if (pane.queued.length > 0 && !pane.paused) report('P1', `runs of ${name} stay queued: ${pane.queued.join(', ')}`);
    const declaration = priv.panes[name]?.declaration;
    if (declaration?.driven !== true || !declaration.enabled || view.transcript === 0) continue;
    const fresh = pane.covers === view.transcript;
    const excused =
      pane.paused ||
      pane.phase === 'error' ||
      pane.phase === 'imaging_failed' ||
      (pane.phase === 'cancelled' && ['user', 'closed', 'deleted'].includes(pane.reason ?? ''));
    if (!fresh && !excused)
      report(
        'P6',
        `${name} covers ${pane.covers ?? 'nothing'} of transcript ${view.transcript} in phase ${pane.phase} ${pane.reason ?? ''}`,
      );
  }
  for (const [message, { run }] of Object.entries(priv.open)) {
    const paused = Object.values(view.panes).some((pane) => pane.phase === 'paused' && pane.run === run);
    if (!paused) report('P1', `message ${message} stays open`);
  }
}

/** P4 and the answer times of P9. */
export function checkCommands(world: World, report: Report): void {
  const answers = new Map<string, string>();
  for (const { command, answer, sentMs, answeredMs, calm } of world.sent) {
    const what = JSON.stringify(command).slice(0, 200);
    if (calm && answeredMs !== null && answeredMs - sentMs > ackMs)
      report('P9', `${what} was answered after ${answeredMs - sentMs} ms`);
    if (answer === null || 'refused' in answer) continue;
    checkEffect(world, command, answer, report);
    if (command.id === undefined || command.type === 'message.delta') continue;
    const { duplicate: _, ...fields } = answer;
    const key = `${command.session} ${command.id}`;
    const said = JSON.stringify(fields, Object.keys(fields).toSorted());
    if ((answers.get(key) ?? said) !== said)
      report('P4', `${what} got two answers: ${answers.get(key) ?? ''} and ${said}`);
    answers.set(key, said);
  }
  const deletes = new Set(
    world.sent.flatMap(({ command }) => (command.type === 'session.delete' ? [command.id ?? ''] : [])),
  );
  for (const life of world.truth.lives) checkCauses(life, deletes, report);
  checkTwice(world, report);
}

type Answered = World['sent'][number];

/** A deleted session has no journal: what was stored together with its erasure is not known any more. */
function checkEffect(
  world: World,
  command: Answered['command'],
  answer: Exclude<Answered['answer'], null | { refused: unknown }>,
  report: Report,
): void {
  const lives = world.truth.lives.filter((life) => life.session === command.session);
  if (lives.some((life) => life.erased)) return;
  const what = JSON.stringify(command).slice(0, 200);
  const has = (test: (record: Rec) => boolean): boolean => lives.some((life) => life.records.some(test));
  const caused = (record: Rec): boolean => record.by === command.id;
  const lost = (): void =>
    report('P4', `${what} was acked (seq ${answer.seq ?? 'none'}) and its effect is not in the journal`);
  switch (command.type) {
    case 'message.add':
      if (
        !has(
          (record) =>
            caused(record) &&
            record.type === 'message.added' &&
            record.message.id === answer.message &&
            record.message.text === command.text,
        )
      )
        lost();
      return;
    case 'message.edit':
      if (!has((record) => caused(record) && record.type === 'message.edited')) lost();
      return;
    case 'message.remove':
      if (!has((record) => caused(record) && record.type === 'message.removed')) lost();
      return;
    case 'message.delta': {
      if (command.id === undefined) return;
      const length = lives.reduce((sum, life) => Math.max(sum, lengthOf(life, command.message)), 0);
      if ((answer.at ?? 0) > length) report('P4', `${what} was acked at ${answer.at ?? 0}, the journal has ${length}`);
      return;
    }
    case 'session.delete':
      return;
    default:
      if ((answer.seq ?? 0) > Math.max(0, ...lives.map((life) => life.records.length))) lost();
      if (
        answer.run !== undefined &&
        command.type === 'pane.run' &&
        !has((record) => record.type === 'pane.phase' && record.run === answer.run)
      )
        lost();
  }
}

/** The longest that a message ever was: an edit may have shortened it. */
function lengthOf(life: Life, id: string): number {
  let length = 0;
  for (const record of life.records) {
    if (record.type === 'message.added' && record.message.id === id)
      length = Math.max(length, record.message.text.length);
    if (record.type === 'message.edited' && record.message === id) length = Math.max(length, record.text.length);
    if (record.type === 'message.text' && record.text.message === id)
      length = Math.max(length, record.text.at + record.text.add.length);
  }
  return length;
}

/** What belongs together is one append: all records of one cause were stored by one. */
function checkCauses(life: Life, deletes: ReadonlySet<string>, report: Report): void {
  const entries = new Map<string, number>();
  life.records.forEach((record, index) => {
    if (record.by === undefined) return;
    const entry = life.entry[index] ?? 0;
    const first = entries.get(record.by) ?? entry;
    // A delete is remembered with the erasure only: asked again after a crash in between, it ends what has begun since.
    if (first !== entry && !deletes.has(record.by))
      report(
        'P4',
        `records of command ${record.by} are in the appends at ${first} and ${entry}: applied twice, or torn`,
      );
    entries.set(record.by, entry);
  });
}

function checkTwice(world: World, report: Report): void {
  const seen = new Set<string>();
  for (const life of world.truth.lives) {
    for (const record of life.records) {
      if (record.by === undefined || !['message.added', 'message.edited', 'message.removed'].includes(record.type))
        continue;
      const key = `${life.session} ${record.by} ${record.type}`;
      // A reply's message has no cause: only what the command itself said.
      if (seen.has(key)) report('P4', `command ${record.by} was applied twice: ${record.type} at ${record.seq}`);
      seen.add(key);
    }
  }
}

/** P5: whatever anybody saw is in the journal, and each snapshot is the fold up to its cursor. */
export function checkSightings(world: World, report: Report): void {
  const states = new Map<string, Set<number>>();
  for (const { by, session, epoch, frame } of world.sightings) {
    const life = world.truth.byEpoch(session, epoch);
    if (frame.type === 'record') {
      const stored = life?.records[frame.record.seq - 1];
      if (stored === undefined || !sameJson(stored, frame.record))
        report(
          'P5',
          `${by} saw record ${frame.record.seq} of ${session} (${frame.record.type}), the journal has ${JSON.stringify(stored)}`,
        );
    } else if (life === undefined || frame.view.seq > life.records.length)
      report(
        'P5',
        `${by} saw a snapshot at ${frame.view.seq} of ${session}, the journal ends at ${life?.records.length ?? 0}`,
      );
    else {
      const key = `${session} ${epoch}`;
      states.set(key, (states.get(key) ?? new Set()).add(frame.view.seq));
    }
  }
  for (const life of world.truth.lives) {
    const wanted = states.get(`${life.session} ${life.epoch}`);
    if (wanted === undefined) continue;
    const snapshots = world.sightings.filter(
      ({ session, epoch, frame }) => session === life.session && epoch === life.epoch && frame.type === 'snapshot',
    );
    let state = emptyState(life.session);
    for (const record of life.records) {
      state = foldState(state, record);
      if (!wanted.has(record.seq)) continue;
      for (const { by, frame } of snapshots) {
        if (frame.type === 'snapshot' && frame.view.seq === record.seq && !sameJson(frame.view, state.view))
          report(
            'P5',
            `${by}: the snapshot at ${record.seq} of ${life.session} is not the fold of the records up to it`,
          );
      }
    }
  }
}

/** The end of a simulation: every client shows what the journal holds. */
export function checkClients(world: World): Violation[] {
  const found: Violation[] = [];
  for (const client of world.raw) {
    const life = world.truth.current(client.session);
    if (life === undefined ? client.attached && client.view !== null : !sameJson(client.view, life.state.view))
      found.push({
        rule: 'fold',
        what: `${client.name} shows seq ${client.view?.seq ?? 'none'} of ${client.session}, the journal is at ${life?.records.length ?? 'none'}`,
      });
  }
  for (const { name, session, client } of world.stores) {
    const life = world.truth.current(session);
    const { view, status, pending, text } = client.getSnapshot();
    if (status !== 'live') found.push({ rule: 'fold', what: `${name} is ${status} at the end` });
    if (pending > 0) found.push({ rule: 'P4', what: `${name} has ${pending} commands without an answer at the end` });
    // A client that finds its session deleted keeps what it had.
    if (life !== undefined && Object.keys(text).length > 0)
      found.push({ rule: 'live', what: `${name} still shows live text: ${JSON.stringify(text)}` });
    if (life !== undefined && !sameJson(view, life.state.view))
      found.push({
        rule: 'fold',
        what: `${name} shows seq ${view.seq} of ${session}, the journal is at ${life.records.length}`,
      });
  }
  return found;
}
