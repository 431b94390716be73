import type { Command, CommandOf } from '../protocol/commands.ts';
import { limits } from '../protocol/names.ts';
import type { Fact, PaneDeclaration, PaneOptions } from '../protocol/records.ts';
import type { State } from '../protocol/state.ts';
import type { PaneView } from '../protocol/view.ts';
import { doNothing, refuse, type Decision, type Knowledge } from './decision.ts';
import { decideAdd, decideDelta, decideEdit, decideRemove } from './decide-message.ts';
import { decideTask, decideWork } from './decide-task.ts';
import { answeredMessage, isOpen } from './derive.ts';
import type { SessionEvent } from './session.ts';

/** Says what a command does to a session: against its *proposed* state, without doing any of it. PROTOCOL section 4. */
export function decide(state: State, command: Command, known: Knowledge): Decision {
  if (command.type !== 'session.open' && state.view.seq === 0)
    return refuse('NOT_FOUND', `no session ${command.session}`);
  if (command.ifGeneration !== undefined && command.ifGeneration !== state.view.generation) {
    const { generation } = state.view;
    return refuse(
      'STALE_GENERATION',
      `generation ${command.ifGeneration} is ${command.ifGeneration < generation ? 'behind' : 'ahead of'} ${generation}`,
      { data: { generation } },
    );
  }
  switch (command.type) {
    case 'session.open':
      return decideOpen(state, command, known);
    case 'session.close':
      return decideEnd(state, 'closed');
    case 'session.delete':
      return decideEnd(state, 'deleted');
    case 'message.add':
      return decideAdd(state, command, known);
    case 'message.delta':
      return decideDelta(state, command, known);
    case 'message.edit':
      return decideEdit(state, command, known);
    case 'message.remove':
      return decideRemove(state, command, known);
    case 'pane.run':
      return decideRun(state, command, known);
    case 'pane.cancel':
      return decideCancel(state, command);
    case 'pane.pause':
      return decidePause(state, command.pane, known, { type: 'pause', at: known.nowMs }, true);
    case 'pane.resume':
      return decidePause(
        state,
        command.pane,
        known,
        command.input === undefined ? { type: 'resume' } : { type: 'resume', input: command.input },
        false,
      );
    case 'task.cancel':
    case 'task.retry':
    case 'task.prioritize':
      return decideTask(state, command, known);
  }
}

function decideOpen(state: State, command: CommandOf<'session.open'>, known: Knowledge): Decision {
  const declared: { [pane: string]: PaneDeclaration } = {};
  for (const [name, declaration] of Object.entries(known.panes)) {
    const asked = command.panes?.[name];
    const old = state.private.panes[name]?.declaration;
    if (old === undefined && (declaration.enabled || asked !== undefined)) declared[name] = merge(declaration, asked);
    if (old !== undefined && asked !== undefined) {
      const merged = merge(old, asked);
      if (!sameOptions(old, merged)) declared[name] = merged;
    }
  }
  for (const name of Object.keys(command.panes ?? {})) {
    if (known.panes[name] === undefined && state.private.panes[name] === undefined) {
      return refuse('NOT_FOUND', `no pane ${name}: expected one of ${Object.keys(known.panes).join(', ')}`);
    }
  }
  if (state.view.seq > 0 && Object.keys(declared).length === 0) return doNothing;
  // A queue may not outlive its policy, also that of a pane which is paused and has no actor.
  const lined = Object.keys(declared).filter((name) => (state.view.panes[name]?.queued.length ?? 0) > 0);
  const open: Decision = { kind: 'do', events: [{ type: 'open', panes: declared }] };
  return lined.length === 0 ? open : { ...open, spawn: lined };
}

function merge(
  declaration: PaneDeclaration,
  asked: { [K in keyof PaneOptions]?: PaneOptions[K] | undefined } | undefined,
): PaneDeclaration {
  const given = Object.entries(asked ?? {}).filter(([, value]) => value !== undefined);
  return { ...declaration, ...Object.fromEntries(given) };
}

function sameOptions(a: PaneDeclaration, b: PaneDeclaration): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function decideEnd(state: State, reason: 'closed' | 'deleted'): Decision {
  const panes = Object.entries(state.view.panes)
    .filter(([, pane]) => isOpen(pane) || pane.queued.length > 0)
    .map(([name]) => name);
  const streamed = Object.entries(state.private.open).flatMap(([message, open]) =>
    open.run === null ? [message] : [],
  );
  if (state.private.closed && panes.length === 0 && streamed.length === 0) return doNothing;
  return {
    kind: 'do',
    facts: streamed.map((message): Fact => ({ type: 'message.ended', message, outcome: 'stopped', reason })),
    events: [{ type: 'close', panes, reason }],
    spawn: panes,
  };
}

function noPane(name: string): Decision {
  return refuse('NOT_FOUND', `no pane ${name} in this session`);
}

function decideRun(state: State, command: CommandOf<'pane.run'>, known: Knowledge): Decision {
  const view = state.view.panes[command.pane];
  const pane = state.private.panes[command.pane];
  if (pane === undefined && known.panes[command.pane]?.tasks === true) return decidePlanned(state, command, known);
  if (view === undefined || pane === undefined) return noPane(command.pane);
  if (!pane.declaration.enabled) return refuse('CONFLICT', `pane ${command.pane} is off: turn it on with session.open`);
  if (known.panes[command.pane] === undefined) {
    return refuse('UNSUPPORTED', `pane ${command.pane} is not registered on this server`);
  }
  if (pane.declaration.tasks === true) return decidePlanned(state, command, known);
  const busy = isOpen(view) && pane.began;
  if (busy && pane.declaration.policy === 'reject')
    return refuse('CONFLICT', `pane ${command.pane} is busy with run ${view.run ?? ''}`, { data: { run: view.run } });
  if (view.queued.length >= limits.maxQueuedRuns)
    return refuse('OVERLOADED', `${view.queued.length} runs of pane ${command.pane} are queued already`, {
      retryAfterMs: 5_000,
    });
  if (command.pane === 'reply') {
    const asked = answeredMessage(state.view);
    if (asked === undefined || !asked.final) return refuse('CONFLICT', 'there is no message to reply to');
  }
  const event = { type: 'run', run: known.ids.run, generation: state.view.generation, at: known.nowMs } as const;
  const tell: SessionEvent = {
    type: 'tell',
    pane: command.pane,
    event: command.input === undefined ? event : { ...event, input: command.input },
  };
  return { kind: 'do', events: [tell], spawn: [command.pane] };
}

function decidePlanned(state: State, command: CommandOf<'pane.run'>, known: Knowledge): Decision {
  const planned = known.plan(command.pane, command.input ?? null);
  if (planned === undefined) return refuse('UNSUPPORTED', `pane ${command.pane} is not registered on this server`);
  if ('refused' in planned) return refuse('BAD_MESSAGE', planned.refused);
  return decideWork(state, command.pane, planned, known);
}

function decideCancel(state: State, command: CommandOf<'pane.cancel'>): Decision {
  if (command.pane !== undefined && state.view.panes[command.pane] === undefined) return noPane(command.pane);
  const inScope = Object.entries(state.view.panes).filter(
    ([name]) => command.pane === undefined || name === command.pane,
  );
  if (command.run !== undefined) return decideCancelRun(state, inScope, command.run);
  const busy = inScope.filter(([, pane]) => isOpen(pane) || pane.queued.length > 0).map(([name]) => name);
  return {
    kind: 'do',
    events: busy.map((pane) => ({ type: 'tell', pane, event: { type: 'cancel', run: null } })),
    spawn: busy,
  };
}

function decideCancelRun(state: State, panes: [string, PaneView][], run: string): Decision {
  for (const [name, pane] of panes) {
    if (pane.queued.includes(run) || (pane.run === run && isOpen(pane))) {
      return { kind: 'do', events: [{ type: 'tell', pane: name, event: { type: 'cancel', run } }], spawn: [name] };
    }
    if (pane.run === run) return doNothing;
    if (state.private.panes[name]?.past.includes(run) === true) {
      return refuse('CONFLICT', `run ${run} is over: run ${pane.run ?? ''} has taken its place`, {
        data: { run: pane.run },
      });
    }
  }
  return refuse('NOT_FOUND', `no run ${run}`);
}

function decidePause(
  state: State,
  name: string,
  _known: Knowledge,
  event: Extract<SessionEvent, { type: 'tell' }>['event'],
  paused: boolean,
): Decision {
  const pane = state.view.panes[name];
  if (pane === undefined) return noPane(name);
  if (pane.paused === paused) return doNothing;
  return { kind: 'do', events: [{ type: 'tell', pane: name, event }], spawn: [name] };
}
