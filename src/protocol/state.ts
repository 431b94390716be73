import { fold } from './fold.ts';
import { isTerminal, isWorking } from './names.ts';
import type { JsonObject, PaneDeclaration, PhaseFact, Rec, ReplyBy, Task, TaskChange } from './records.ts';
import { emptyView, type PaneView, type View } from './view.ts';

/** Version of the saved state and of the record format. A change of either needs a reader for the old one and a fixture test. */
export const stateFormat = 1;

/** Most run ids remembered per pane, to tell an old run (CONFLICT) from an unknown one (NOT_FOUND). */
export const rememberedRuns = 32;

/** Most tasks of earlier runs remembered per pane, so that they can be tried again. */
export const rememberedTasks = 64;

/** A run that stands behind the working one (policy `queue`). */
export interface QueuedRun {
  run: string;
  generation: number;
  input: JsonObject | null;
  of: string | null;
  /** Of a pane with tasks. */
  tasks?: TaskChange[];
}

/** What the server knows of a pane besides its view. */
export interface PrivatePane {
  declaration: PaneDeclaration;
  input: JsonObject | null;
  of: string | null;
  checkpoint: JsonObject | null;
  /** The current run has announced a working phase. */
  began: boolean;
  /** The working phase (stage) that the run reached last; where a retry, a resume or a recovery goes on. */
  stage: string | null;
  /** The transcript when the current run's work began. */
  sees: number | null;
  /** Times that the current run was found unfinished at a start of the process. */
  recoveries: number;
  queue: QueuedRun[];
  /** Earlier runs of this pane, newest last, bounded by `rememberedRuns`. */
  past: string[];
  /** Tasks of earlier runs that failed or were cancelled and that nobody has tried again, newest last, bounded by `rememberedTasks`. */
  left?: { run: string; task: Task }[];
}

/** A message that is still being written. */
export interface OpenMessage {
  /** The run of the reply pane that writes it; null = an app does, with `message.delta`. */
  run: string | null;
  /** Length on record, in UTF-16 units. */
  length: number;
  /** Who is to answer it once it is final. */
  reply: ReplyBy;
}

/** The persisted state of a session: the view, and what is folded from the same records but not sent in snapshots. */
export interface State {
  format: typeof stateFormat;
  view: View;
  private: {
    panes: { [name: string]: PrivatePane };
    open: { [message: string]: OpenMessage };
    /** An app is expected to answer the newest user message and has not begun. */
    appReplies: boolean;
    /** Closed by `session.close`, and no command has changed anything since. */
    closed: boolean;
    /** Time of the newest record, so that `at` never decreases. */
    at: string;
  };
}

/** The state of a session before its first record. */
export function emptyState(session: string): State {
  return {
    format: stateFormat,
    view: emptyView(session),
    private: { panes: {}, open: {}, appReplies: false, closed: false, at: '' },
  };
}

/** The state after one more record: `fold` for the view, and the server's private part beside it. */
export function foldState(state: State, record: Rec): State {
  const next = foldPrivate(state, record);
  return {
    format: stateFormat,
    view: fold(state.view, record),
    private: { ...next, closed: record.type === 'session.closed', at: record.at },
  };
}

type Private = State['private'];

function foldPrivate(state: State, record: Rec): Private {
  const old = state.private;
  switch (record.type) {
    case 'session.opened':
      return { ...old, panes: declarePanes(old.panes, record.panes) };
    case 'session.closed':
    case 'pane.paused':
      return old;
    case 'pane.content':
      return changePane(old, record.pane, (pane) => ({ ...pane, recoveries: 0 }));
    case 'tasks':
      return changePane(old, record.pane, (pane) => ({ ...pane, queue: addTasks(pane.queue, record) }));
    case 'session.recovered':
      return { ...old, panes: countRecoveries(old.panes, record.runs, state.view) };
    case 'message.added':
      return addMessage(old, record);
    case 'message.text': {
      const open = old.open[record.text.message];
      if (open === undefined) return old;
      return {
        ...old,
        open: { ...old.open, [record.text.message]: { ...open, length: record.text.at + record.text.add.length } },
      };
    }
    case 'message.ended':
      return { ...old, open: without(old.open, record.message) };
    case 'message.edited':
      return { ...old, appReplies: false };
    case 'message.removed':
      return { ...old, appReplies: false, open: without(old.open, record.message) };
    case 'pane.phase':
      return changePane(old, record.pane, (pane) => foldPhase(pane, record, state.view));
  }
}

function changePane(old: Private, name: string, change: (pane: PrivatePane) => PrivatePane): Private {
  const pane = old.panes[name];
  return pane === undefined ? old : { ...old, panes: { ...old.panes, [name]: change(pane) } };
}

/** Tasks of a run that is still in line; those of the current one are in the view. */
function addTasks(queue: QueuedRun[], { run, tasks }: Rec & { type: 'tasks' }): QueuedRun[] {
  return queue.map((queued) => {
    if (queued.run !== run) return queued;
    const byId = new Map((queued.tasks ?? []).map((task) => [task.id, task]));
    for (const task of tasks) byId.set(task.id, { ...byId.get(task.id), ...task });
    return { ...queued, tasks: [...byId.values()] };
  });
}

function declarePanes(old: Private['panes'], declared: { [name: string]: PaneDeclaration }): Private['panes'] {
  const panes = { ...old };
  for (const [name, declaration] of Object.entries(declared)) {
    panes[name] = { ...(panes[name] ?? freshPane(declaration)), declaration };
  }
  return panes;
}

function freshPane(declaration: PaneDeclaration): PrivatePane {
  return {
    declaration,
    input: null,
    of: null,
    checkpoint: null,
    began: false,
    stage: null,
    sees: null,
    recoveries: 0,
    queue: [],
    past: [],
  };
}

function countRecoveries(old: Private['panes'], runs: string[], view: View): Private['panes'] {
  const panes = { ...old };
  for (const [name, pane] of Object.entries(old)) {
    const run = view.panes[name]?.run;
    if (run !== null && run !== undefined && runs.includes(run))
      panes[name] = { ...pane, recoveries: pane.recoveries + 1 };
  }
  return panes;
}

function addMessage(old: Private, record: Rec & { type: 'message.added' }): Private {
  const { message } = record;
  const appReplies =
    message.role === 'user' ? message.reply === 'app' : message.role === 'assistant' ? false : old.appReplies;
  if (message.final) return { ...old, appReplies };
  const open: OpenMessage = { run: message.run ?? null, length: message.text.length, reply: message.reply };
  return { ...old, appReplies, open: { ...old.open, [message.id]: open } };
}

function foldPhase(pane: PrivatePane, fact: PhaseFact, view: View): PrivatePane {
  if (fact.phase === 'queued') {
    const queued: QueuedRun = {
      run: fact.run,
      generation: fact.generation,
      input: fact.input ?? null,
      of: fact.of ?? null,
      ...(fact.tasks === undefined ? {} : { tasks: fact.tasks }),
    };
    return { ...pane, queue: [...pane.queue.filter((other) => other.run !== fact.run), queued] };
  }
  const current = view.panes[fact.pane]?.run ?? null;
  const queued = pane.queue.find((other) => other.run === fact.run);
  if (isTerminal(fact.phase) && fact.run !== current)
    return { ...pane, queue: pane.queue.filter((other) => other !== queued) };
  const next = fact.run === current ? { ...pane } : startRun(pane, current, queued, view.panes[fact.pane]);
  if (next.left !== undefined) next.left = withoutTasks(next.left, fact.tasks ?? []);
  if (fact.input !== undefined) next.input = fact.input;
  if (fact.of !== undefined) next.of = fact.of;
  if (fact.checkpoint !== undefined) next.checkpoint = fact.checkpoint;
  if (isWorking(fact.phase)) {
    if (!next.began) next.sees = view.transcript;
    next.began = true;
    next.stage = fact.phase;
  }
  if (fact.stage !== undefined) next.stage = fact.stage;
  return next;
}

/** Those that are not there again: under their own name, or for the same part. */
function withoutTasks(left: NonNullable<PrivatePane['left']>, tasks: readonly TaskChange[]) {
  return left.filter(({ task }) => !tasks.some(({ id, key }) => id === task.id || (key ?? '') === task.key));
}

/** What an ended run has left undone, with what earlier ones had. */
function leftOf({ left = [] }: PrivatePane, ended: PaneView | undefined): Pick<PrivatePane, 'left'> {
  const undone = Object.values(ended?.tasks ?? {}).filter(
    ({ status }) => status === 'failed' || status === 'cancelled',
  );
  const all = [...left, ...undone.map((task) => ({ run: ended?.run ?? '', task }))].slice(-rememberedTasks);
  return all.length === 0 ? {} : { left: all };
}

function startRun(
  pane: PrivatePane,
  previous: string | null,
  queued: QueuedRun | undefined,
  ended: PaneView | undefined,
): PrivatePane {
  return {
    ...freshPane(pane.declaration),
    ...leftOf(pane, ended),
    input: queued?.input ?? null,
    of: queued?.of ?? null,
    queue: pane.queue.filter((other) => other !== queued),
    past: previous === null ? pane.past : [...pane.past, previous].slice(-rememberedRuns),
  };
}

function without<T>(map: { [key: string]: T }, key: string): { [key: string]: T } {
  const { [key]: _, ...rest } = map;
  return rest;
}
